"""Measurements that are run by hand, never as tests: what they find depends on the machine."""
