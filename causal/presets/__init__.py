"""Surveys whose official files are known: column names, codes, topics. No wording, no labels, no data."""
