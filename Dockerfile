# syntax=docker/dockerfile:1
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/app
COPY requirements.txt /src/
RUN /opt/app/bin/pip install --require-hashes -r /src/requirements.txt
COPY pyproject.toml README.md LICENSE /src/
COPY service /src/service
RUN /opt/app/bin/pip install --no-deps --no-build-isolation /src \
 && /opt/app/bin/python -m compileall -q /opt/app/lib \
 && /opt/app/bin/pip uninstall -y -q setuptools pip

FROM python:${PYTHON}-slim
# A fixed number, so that a volume's owner is the same on every host.
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /nonexistent app \
 && mkdir -p /data /etc/crm-to-chartmogul && chown app:app /data
COPY --from=build /opt/app /opt/app
ENV PATH=/opt/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data \
    CONFIG_FILE=/etc/crm-to-chartmogul/config.yaml
USER app
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/live\", timeout=2)"]
ENTRYPOINT ["crm-to-chartmogul"]
CMD ["serve"]
