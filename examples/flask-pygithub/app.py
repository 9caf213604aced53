"""A person's repositories and a repository's open issues, by PyGithub.

It was written for GitHub itself and works there with a GitHub token. What Valetkey asks of it is GITHUB_API_URL, and `connect` in
the answer below, for the person to click.
"""

import os

from flask import Flask, request
from github import Auth, Github, GithubException

app = Flask(__name__)


def github() -> Github:
    """GitHub as the person who asks: the token of their request goes on to it."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ") or "none"
    return Github(auth=Auth.Token(token), base_url=os.environ.get("GITHUB_API_URL", "https://api.github.com"), lazy=True)


@app.get("/repositories")
def repositories():
    """All of the person's repositories, page after page."""
    return [repository.full_name for repository in github().get_user().get_repos()]


@app.get("/issues/<owner>/<name>")
def issues(owner: str, name: str):
    """The titles of a repository's open issues."""
    return [issue.title for issue in github().get_repo(f"{owner}/{name}").get_issues()]


@app.errorhandler(GithubException)
def refused(error: GithubException):
    """What GitHub refuses, or Valetkey on the way to it; Valetkey sends a link where one helps."""
    said = error.data if isinstance(error.data, dict) else {}
    return {"message": said.get("message"), "connect": said.get("auth_url")}, error.status
