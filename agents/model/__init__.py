"""Language models as policies: tokens, sampling, log-probabilities, weights."""
