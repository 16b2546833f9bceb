"""Clips and their motion for people to look at: contact sheets and colours."""
