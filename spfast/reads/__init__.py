"""Reading the design matrix: jobs that need its rows once, and who walks them, part by part."""
