"""How a contact's fields, intents and doubts are kept: JSON, with values only where they must be compared."""

from collections.abc import Mapping, Sequence

import orjson

from service.model import Carried, Confirmed, Doubt, Shadowed, from_micros, to_micros


def pack_fields(fields: Mapping[str, Confirmed]) -> bytes:
    """Turn a contact's fields into JSON."""
    return orjson.dumps(
        {
            name: [
                known.value,
                *known.order,
                known.event_id,
                None if known.confirmed_at is None else to_micros(known.confirmed_at),
                known.certain,
                known.attempt_id,
                known.rule,
            ]
            for name, known in fields.items()
        }
    )


def unpack_fields(packed: bytes) -> dict[str, Confirmed]:
    """Turn JSON back into a contact's fields. Those of the first release have neither attempt nor rule."""
    fields = {}
    for name, (value, order_key, arrival, event_id, confirmed_us, certain, *later) in orjson.loads(packed).items():
        attempt_id, rule = later or (None, None)
        confirmed_at = None if confirmed_us is None else from_micros(confirmed_us)
        fields[name] = Confirmed(
            value, (order_key, arrival), event_id, confirmed_at, certain=certain, attempt_id=attempt_id, rule=rule
        )
    return fields


def pack_carried(fields: Mapping[str, Carried]) -> str:
    """Turn what a PATCH carries into JSON."""
    return orjson.dumps(_carried(fields)).decode()


def unpack_carried(packed: str | None) -> dict[str, Carried]:
    """Turn JSON back into what a PATCH carries. The first release kept its names alone, as a list."""
    kept = orjson.loads(packed or "{}")
    if isinstance(kept, list):
        return {name: Carried(None) for name in kept}
    return {name: Carried(value, (order_key, arrival)) for name, (value, order_key, arrival) in kept.items()}


def pack_doubts(doubts: Sequence[Doubt]) -> str | None:
    """Turn doubts into JSON; None for none, so that a contact in doubt can be told without reading it."""
    if not doubts:
        return None
    return orjson.dumps([[to_micros(doubt.until), _carried(doubt.fields)] for doubt in doubts]).decode()


def unpack_doubts(packed: str | None) -> tuple[Doubt, ...]:
    """Turn JSON back into doubts."""
    return tuple(
        Doubt(
            from_micros(until_us),
            {name: Carried(value, (order_key, arrival)) for name, (value, order_key, arrival) in fields.items()},
        )
        for until_us, fields in orjson.loads(packed or "[]")
    )


def pack_shadow(fields: Mapping[str, Shadowed] | None) -> bytes | None:
    """Turn what sources in shadow mode would have left into JSON; None where none has been at it."""
    if fields is None:
        return None
    return orjson.dumps(
        {
            name: [one.value, *one.order, one.event_id, to_micros(one.at), one.rule, one.sent]
            for name, one in fields.items()
        }
    )


def unpack_shadow(packed: bytes | None) -> dict[str, Shadowed] | None:
    """Turn JSON back into what sources in shadow mode would have left."""
    if packed is None:
        return None
    return {
        name: Shadowed(value, (order_key, arrival), event_id, from_micros(at_us), rule, sent=sent)
        for name, (value, order_key, arrival, event_id, at_us, rule, sent) in orjson.loads(packed).items()
    }


def _carried(fields: Mapping[str, Carried]) -> dict[str, list[object]]:
    return {name: [carried.value, *carried.order] for name, carried in fields.items()}
