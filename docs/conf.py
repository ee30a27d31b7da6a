"""Sphinx configuration: everything the pages need comes with the build, nothing from the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import spfast

project = "spfast"
author = "the spfast developers"
copyright = "the spfast developers"
release = version = spfast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "project_tables",
    "command_help",
]
# The folders of scripts, and lists that sphinx-gallery adds: no pages for readers.
exclude_patterns = [
    "_build",
    "tutorial",
    "tutorials/index.rst",
    "sg_execution_times.rst",
    "tutorials/sg_execution_times.rst",
]
smartquotes = False  # column names and options stay as they are typed

autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

# Scripts in tutorial/ run and become pages in tutorials/. One that fails, fails the build.
sphinx_gallery_conf = {
    "examples_dirs": "tutorial",
    "gallery_dirs": "tutorials",
    "download_all_examples": False,
    "show_signature": False,
    "copyfile_regex": "",
}

html_theme = "furo"
html_title = f"spfast {release}"
html_static_path = ["_static"]
html_css_files = ["spfast.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
