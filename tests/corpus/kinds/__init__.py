"""The files of the corpus that are written for it, a module for each kind of mess."""
