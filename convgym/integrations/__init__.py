"""Doors to other libraries, one thin file each; nothing else imports them."""
