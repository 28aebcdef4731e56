"""The steps of a task: what an agent does, in order, with every command as it is to be run (docs/agents/prompts.md).

The order says who opens the pull request, who merges and how a reviewer asks for changes; nothing of that is decided here.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from shared.adapters.prompts.commands import flags, option, script, word
from shared.domain.notes import BranchNotes, TriageNotes
from shared.domain.orders import OrderedRig, StartOrder

_MOST_THREADS: Final = 20
_MOST_QUESTIONS: Final = 20


def steps(order: StartOrder) -> str:
    """The numbered steps of the task of an order."""
    found = {
        "review": _review,
        "landing": _review,
        "triage": _triage,
        "rework": _rework,
        "pr_feedback": _feedback,
        "pr_conflict": _conflict,
        "pr_fixup": _fixup,
    }.get(order.prompt_kind or "", _work)(order)
    return "\n\n".join(f"{number}. {text}" for number, text in enumerate(found, start=1))


def _work(order: StartOrder) -> Iterator[str]:
    yield f"Get your branch:\n\n{script(*_own_branch(order))}"
    yield f"Do what the bead asks, and no more. Run the tests. Commit as often as you like:\n\n{_COMMIT}"
    yield (
        "Bring in what has been merged meanwhile, resolve conflicts if there are any, run the tests again, and push:\n\n"
        + script("git fetch origin", f"git merge --no-edit {word('origin/' + _target(order))}", _push(order))
    )
    yield _handed_over(order)


def _handed_over(order: StartOrder) -> str:
    """The last step of new work."""
    if order.opens_pr_into:
        return (
            f"Open the pull request yourself, nobody else does, and report it. Its base is "
            f"{_shown(order.opens_pr_into)}. If one of "
            f"this branch is open already, the first command prints the URL of that one:\n\n{script(_opens(order))}"
        )
    why = ""
    if order.merge_strategy == "pr":
        why = (
            " Open no pull request: a refinery reviews the branch and merges it into the feature branch of the convoy, "
            "which gets one pull request when all its work is there."
        )
    elif order.merge_strategy is not None:
        why = " Open no pull request: a refinery reviews the branch and merges it."
    return f"Report that the work is done.{why}\n\n{script(_done(order, summary=True))}"


def _rework(order: StartOrder) -> Iterator[str]:
    yield f"Get the branch:\n\n{script(*_their_branch(order))}"
    yield f"Make every change that the feedback asks for. Run the tests. Commit:\n\n{_COMMIT}"
    yield f"Push the same branch. Do not open a new pull request, and do not merge:\n\n{script(_push(order))}"
    yield f"Report that it is done; the branch is then reviewed again:\n\n{script(_done(order))}"


def _feedback(order: StartOrder) -> Iterator[str]:
    notes = _metadata(order)
    retarget = BranchNotes.retarget_to.of(notes)
    if retarget is not None:
        yield (
            "Change the base of the pull request, and nothing else:\n\n"
            + script(f"town-agent pr update{_pr_url(order)} {option('--base', retarget)}")
        )
        yield f"Report that it is done:\n\n{script(_done(order))}"
        return
    yield f"Get the branch:\n\n{script(*_their_branch(order))}"
    if BranchNotes.has_conflicts.of(notes):
        yield from _conflict_resolved(order, BranchNotes.conflict_target_branch.of(notes) or _target(order))
    yield from _answered(order)
    yield f"Report that it is done:\n\n{script(_done(order))}"


def _answered(order: StartOrder) -> Iterator[str]:
    """The steps that answer what reviewers and checks say."""
    yield (
        "Read the newest state: open threads with their ids, what each review says, and the checks that fail:\n\n"
        + script(f"town-agent pr status{_pr_url(order)}")
    )
    yield f"Resolve each thread and each failing check in the code. Run the tests. Commit:\n\n{_COMMIT}"
    yield f"Push the same branch. Do not open a new pull request, and do not merge:\n\n{script(_push(order))}"
    threads = _threads(order)
    if threads:
        lines = [
            f'town-agent pr comment{_pr_url(order)} {option("--thread", each)} --resolve "ANSWER"' for each in threads
        ]
        yield (
            "Answer each thread and mark it as resolved, because an open thread keeps the pull request from being merged. Say what "
            f"you changed, or why nothing must change. Do the same for threads that are newer than this list:\n\n{script(*lines)}"
        )
        return
    yield (
        "If `town-agent pr status` shows open threads, answer each of them and mark it as resolved, because "
        "an open thread keeps the "
        "pull request from being merged. Say what you changed, or why nothing must change. The options are "
        '`--thread ID --resolve "ANSWER"` of `town-agent pr comment`.'
    )


def _conflict(order: StartOrder) -> Iterator[str]:
    notes = _metadata(order)
    yield f"Get the branch:\n\n{script(*_their_branch(order))}"
    yield from _conflict_resolved(order, _target(order))
    if BranchNotes.has_feedback.of(notes):
        yield from _answered(order)
    yield f"Report that it is done:\n\n{script(_done(order))}"


def _conflict_resolved(order: StartOrder, target: str) -> Iterator[str]:
    yield (
        "Merge the target into the branch. The second command reports the conflicts:\n\n"
        + script("git fetch origin", f"git merge --no-edit {word('origin/' + target)}")
    )
    yield (
        "Resolve every conflict so that the intent of both sides is kept. Run the tests. Then end the merge "
        "and push; never rewrite "
        "commits that are pushed:\n\n"
        + script("git add --all", "test ! -e .git/MERGE_HEAD || git commit --no-edit", _push(order))
    )


def _fixup(order: StartOrder) -> Iterator[str]:
    if order.branch:
        yield f"Get the branch:\n\n{script(*_their_branch(order))}"
    else:
        yield (
            "Find the branch of the pull request. The request may name it; so does this command:\n\n"
            + script(*_clone(order), f"town-agent pr status{_pr_url(order)}")
            + "\n\nCheck it out:\n\n"
            + script("git fetch origin", 'git checkout "BRANCH" --', 'git pull --ff-only origin "BRANCH"')
        )
    yield f"Make the change. Run the tests. Commit:\n\n{_COMMIT}"
    push = _push(order) if order.branch else "git push origin HEAD"
    yield f"Push the same branch. Do not open a new pull request, and do not merge:\n\n{script(push)}"
    done = _done(order) if order.branch else 'town-agent done --branch "$(git branch --show-current)"'
    yield f"Report that it is done:\n\n{script(done)}"


def _review(order: StartOrder) -> Iterator[str]:
    branch, target = word(f"origin/{order.branch or ''}"), word(f"origin/{_target(order)}")
    yield (
        "Check out exactly what you judge, and look at it:\n\n"
        + script(
            *_clone(order),
            *_feature(order),
            "git fetch origin",
            f"git checkout --detach {branch}",
            f"git --no-pager diff {target}...HEAD",
        )
    )
    yield _gates(order)
    yield _changes_wanted(order)
    yield _if_good(order)


def _gates(order: StartOrder) -> str:
    if order.gates:
        return "Run each gate that the facts name, in this directory. A gate that fails is a reason to ask for changes."
    return "Build it and run its tests, as the repository describes. A failure is a reason to ask for changes."


def _changes_wanted(order: StartOrder) -> str:
    if order.asks_changes_by == "comments":
        review = f'town-agent pr review{_pr_url(order)} --file "FILE" --line 1 "COMMENT"'
        return (
            "If something must change, write each finding as a comment in the pull request, at its file and "
            "line, and report that you "
            "are done. Merge nothing. Every comment is a thread that must be resolved before the town merges:\n\n"
            + script(review, _done(order))
        )
    return (
        "If something must change, say all of it at once, so that somebody who knows only your text can do "
        "it; `--file PATH` names a "
        "file and may be repeated. Then report that you are done, and skip the next step:\n\n"
        + script('town-agent request-changes --feedback "FEEDBACK"', _done(order))
    )


def _if_good(order: StartOrder) -> str:
    if order.opens_pr_into:
        return (
            f"If it is good, open the pull request yourself, nobody else does, and report it. Its base is "
            f"{_shown(order.opens_pr_into)}. Merge nothing: the town merges what you have checked out when its checks have passed:"
            f"\n\n{script(_opens(order))}"
        )
    if order.merges_into:
        return _merged(order, order.merges_into)
    return (
        "If it is good, report that you are done. Merge nothing: the town merges the pull request at exactly the commit that you "
        f"have checked out, when its checks have passed:\n\n{script(_done(order))}"
    )


def _merged(order: StartOrder, target: str) -> str:
    branch = order.branch or ""
    clean = (
        "If the merge has conflicts, run `git merge --abort` and ask for changes: do not resolve them."
        if order.require_clean_merge
        else "If the merge has conflicts, resolve them so that the intent of both sides is kept, and run the tests again."
    )
    return (
        f"If it is good, merge it into {_shown(target)} and report it. {clean} If the push is refused because "
        "somebody else pushed, "
        "run the block again. The town then checks whether the target contains the branch; after a squash or rebase, add "
        '`--merge-commit "COMMIT"` to the last command:\n\n'
        + script(
            "git fetch origin",
            f"git checkout --detach {word('origin/' + target)}",
            f"git merge --no-ff -m {word('Merge ' + branch)} {word('origin/' + branch)}",
            f"git push{flags(order.git_push_flags)} origin {word('HEAD:refs/heads/' + target)}",
            _done(order),
        )
    )


def _triage(order: StartOrder) -> Iterator[str]:
    ids = TriageNotes.request_ids.of(_metadata(order))[:_MOST_QUESTIONS]
    yield (
        "Look at what a question is about. `town-agent list agents`, `town-agent list beads` and `town-agent "
        "bead show ID` show the "
        "town:\n\n" + script("town-agent list agents")
    )
    lines = [f'town-agent triage {word(each)} --action RESTART --notes "REASON"' for each in ids]
    yield (
        "Answer each question with the action that helps. Instead of RESTART (stop the agent, and start the bead anew): "
        "RESTART_WITH_BACKOFF (the same, after a pause), REASSIGN_BEAD (another agent), CLOSE_BEAD (the bead "
        "fails), NUDGE (the notes "
        "go to the agent) or ESCALATE (a person decides):\n\n" + script(*lines)
    )
    yield f"When all are answered, report that it is done:\n\n{script('town-agent done --branch none')}"


_COMMIT: Final = script("git add --all", 'git commit -m "MESSAGE"')


def _clone(order: StartOrder) -> Iterator[str]:
    """A clone in the current directory, if there is none yet."""
    url = (order.rig or OrderedRig()).git_url
    if url:
        yield f"test -e .git || git clone -- {word(url)} ."


def _feature(order: StartOrder) -> Iterator[str]:
    """The feature branch of a convoy, which its first agent creates."""
    target, default = order.target_branch, (order.rig or OrderedRig()).default_branch or "main"
    if target and target == order.feature_branch and target != default:
        ref = word(f"refs/heads/{target}")
        begin = word(f"refs/remotes/origin/{default}:refs/heads/{target}")
        yield f"git ls-remote --exit-code origin {ref} || git push origin {begin}"


def _own_branch(order: StartOrder) -> Iterator[str]:
    """A branch for new work: the one of an earlier attempt, else a new one from the target."""
    yield from _clone(order)
    yield from _feature(order)
    yield "git fetch origin"
    if order.branch:
        branch = word(order.branch)
        yield f"git checkout {branch} -- || git checkout --no-track -b {branch} {word('origin/' + _target(order))}"


def _their_branch(order: StartOrder) -> Iterator[str]:
    """The branch of a review, as it is at the origin."""
    yield from _clone(order)
    yield "git fetch origin"
    if order.branch:
        yield f"git checkout {word(order.branch)} --"
        yield f"git merge --ff-only {word('origin/' + order.branch)}"


def _push(order: StartOrder) -> str:
    return f"git push{flags(order.git_push_flags)} origin {word('HEAD:refs/heads/' + (order.branch or ''))}"


def _opens(order: StartOrder) -> str:
    base = option("--base", order.opens_pr_into or "")
    create = f'town-agent pr create --title "TITLE" --body "TEXT" {base}{_branch(order)}'
    return f'url=$({create}) && {_done(order)} --pr-url "$url" --summary "SUMMARY"'


def _done(order: StartOrder, *, summary: bool = False) -> str:
    return f"town-agent done{_branch(order)}" + (' --summary "SUMMARY"' if summary else "")


def _branch(order: StartOrder) -> str:
    return f" {option('--branch', order.branch)}" if order.branch else ""


def _pr_url(order: StartOrder) -> str:
    return f" {option('--pr-url', order.pr_url)}" if order.pr_url else ""


def _target(order: StartOrder) -> str:
    return order.target_branch or (order.rig or OrderedRig()).default_branch or "main"


def _shown(branch: str) -> str:
    return f"`{word(branch)}`" if "`" not in branch else word(branch)


def _threads(order: StartOrder) -> list[str]:
    """The open threads that the feedback names, each once."""
    named = (each.get("thread") for each in BranchNotes.comments.of(_metadata(order)))
    found = dict.fromkeys(each for each in named if isinstance(each, str) and each)
    return list(found)[:_MOST_THREADS]


def _metadata(order: StartOrder) -> Mapping[str, object]:
    return {} if order.bead is None else order.bead.metadata
