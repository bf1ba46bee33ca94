"""The commands `bulk-upload load` and `bulk-upload watch`, clients of a server over HTTP."""
