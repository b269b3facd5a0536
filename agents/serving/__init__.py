"""Q as a reward model for trainers of others: over HTTP, and as a function."""
