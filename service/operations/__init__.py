"""What an operator asks for that is more than one call; a file each, used by cli and web alike."""
