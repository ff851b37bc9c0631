"""The command line `atlas`: one file a group of commands, pretty for people, `--json` for programs."""
