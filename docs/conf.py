"""Sphinx configuration: ``make docs``."""

project = "ace-align"
author = "the ace-align authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
autodoc_mock_imports = ["torch", "transformers", "peft", "safetensors"]
numpydoc_show_class_members = False
html_theme = "pydata_sphinx_theme"
html_title = "ace-align"
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_missing"]
