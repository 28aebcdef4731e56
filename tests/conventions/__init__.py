"""Rules of this code base that no off-the-shelf linter knows."""
