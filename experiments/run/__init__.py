"""Running a study: blocks, jobs, who runs them where, and what is said meanwhile."""
