"""Pages and API of accounts: signing in, people and groups, tokens, access to datasets, the audit log."""
