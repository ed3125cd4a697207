"""`make run`: starts the processes, shows what they say, tells the story of the sample alert."""
