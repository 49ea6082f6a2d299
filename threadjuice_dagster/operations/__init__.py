"""What the newsroom does besides writing stories, one room per duty: pure rules, a store in SQL, and a service."""
