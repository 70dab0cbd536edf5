"""Types of what the routes answer, a file for each subject: the reference of the API."""
