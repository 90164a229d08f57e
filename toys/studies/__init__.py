"""Studies: small scripts on the public API, each ends in pass, fail or cannot tell and draws one chart."""
