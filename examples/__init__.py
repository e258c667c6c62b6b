"""The example photos and paintings, as a package so that they travel with the wheel."""
