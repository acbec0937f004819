"""How the rows of a query are streamed through each database driver."""
