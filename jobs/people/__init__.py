"""Who uses this server: accounts, groups, sessions and tokens; what each may see and do; and who did what."""
