"""A folder on the Hugging Face hub."""

from __future__ import annotations

from huggingface_hub import HfApi

from movideo.errors import UserError
from movideo.hub.weight_files import first_line


def publish(
    folder: str,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | None = None,
) -> str:
    """Uploads a folder; arguments as for `MoVideoPipeline.push_to_hub`.

    Returns:
        The commit's address.

    Raises:
        UserError: the hub refuses or cannot be reached.
    """
    hub = HfApi(token=token)
    try:
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message,
        )
    except (OSError, ValueError) as error:  # what the hub's library raises is one of these
        raise UserError(
            f"{repo_id}: cannot be published ({first_line(error)}); "
            "check the name, and log in with: hf auth login"
        ) from error
    return str(commit.commit_url)
