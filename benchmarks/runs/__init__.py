"""Running suites: what is compared, how it is run, and where its rows are kept."""
