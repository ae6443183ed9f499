"""What a study is: its axes, settings and question, before anything is trained."""
