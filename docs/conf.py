"""Sphinx configuration: everything the pages need comes with the build, nothing from the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import spfast

project = "spfast"
author = "the spfast developers"
copyright = "the spfast developers"
release = version = spfast.__version__

extensions = ["sphinx.ext.autodoc", "numpydoc", "mathml", "project_tables", "command_help"]
exclude_patterns = ["_build"]
smartquotes = False  # column names and options stay as they are typed

autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"spfast {release}"
html_static_path = ["_static"]
html_css_files = ["spfast.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
