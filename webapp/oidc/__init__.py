"""Signing in at an issuer of OpenID Connect. Only with an issuer in the settings are authlib and joserfc loaded."""
