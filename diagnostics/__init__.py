"""Tables in, findings out: alignment, classes of error, figures and the report. Never imports torch."""
