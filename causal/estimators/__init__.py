"""One module per estimator, one result type."""
