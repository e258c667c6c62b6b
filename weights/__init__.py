"""The shipped networks, as a package so that they travel with the wheel."""
