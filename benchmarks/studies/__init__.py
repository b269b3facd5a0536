"""One-off measurements, each a module to be run."""
