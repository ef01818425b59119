"""`ddspx instruments`."""

from ddspx.models.autoencoder import instrument_names


def instruments() -> None:
    """Lists the instruments that ship with ddspx, by the names that --to takes."""
    print("\n".join(instrument_names()))
