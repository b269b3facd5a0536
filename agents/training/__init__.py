"""What every training run needs: customers, books, minibatches, losses."""
