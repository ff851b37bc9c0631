"""Commands for communities, moderation and appeals, over a node's API."""

import argparse
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from client_api.places import PLATFORM_NAME

from node.cli.home import UsageError
from node.cli.output import Output, plain, short
from node.cli.people import client_of, resolve_account, sign_and_submit

STEPS = """\
a community:
  atlas community create harbour --about "About boats." --as ada
  atlas community rules harbour 2 "1. Be kind.  2. Boats." --as ada
  atlas community join harbour --as ben
  atlas community appoint harbour @ben --as ada
  atlas community post harbour "A calm sea." --as ben

moderate it:
  atlas community report evt1… "It insults somebody." --rule 1 --as cyd
  atlas community queue harbour
  atlas community hide harbour evt1… "It insults the harbour master." --rule 1 --as ben
  atlas community suspend harbour @dan "Again and again." --rule 1 --beats 5082 --as ben
  atlas community lift evt1… "It was a mistake." --as ben              any decision, by its id

contest it:
  atlas community appeal evt1… "It praises him." --as dan              the decision's id
  atlas community enlist --as eve                                       be willing to review
  atlas community review evt1… reverse "It does praise him." --as eve   the appeal's id
  atlas community escalate evt1… --as dan
  atlas community decision evt1…

A space is a community's id or name, or "platform" for what moderators of the platform decide.
"""
LIFTED_BY = {
    ("hide", True): "moderation.ContentReinstated",
    ("hide", False): "moderation.PostRestoredInCommunity",
    ("lock", True): "moderation.PostThreadUnlocked",
    ("lock", False): "moderation.PostThreadUnlocked",
    ("suspend", True): "moderation.AccountReinstated",
    ("suspend", False): "moderation.MemberReinstated",
}
"""(kind of the decision, whether it is one of the platform) -> the event that lifts it."""
DECIDED_BY = {
    ("hide", True): "moderation.ContentTakenDown",
    ("hide", False): "moderation.PostHiddenInCommunity",
    ("lock", True): "moderation.PostThreadLocked",
    ("lock", False): "moderation.PostThreadLocked",
    ("warn", True): "moderation.MemberWarned",
    ("warn", False): "moderation.MemberWarned",
    ("suspend", True): "moderation.AccountSuspended",
    ("suspend", False): "moderation.MemberSuspended",
}
NO_SPACE = "00" * 32
Run = Callable[[argparse.Namespace, Output], int]


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    summary = "Communities, moderation and appeals."
    group = commands.add_parser(
        "community", help=summary, description=summary, epilog=STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions: Any = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    client = argparse.ArgumentParser(add_help=False, parents=[shared])
    client.add_argument(
        "--home", help="folder with client.json, wallet and genesis (default: build/devnet or ~/.atlas)"
    )
    client.add_argument("--url", help="the node's API, e.g. http://127.0.0.1:8080 (default: from client.json)")
    signer = argparse.ArgumentParser(add_help=False, parents=[client])
    signer.add_argument("--as", dest="key", required=True, metavar="NAME", help="the wallet's key that signs")

    def add(name: str, help: str, run: Run, *places: str, signs: bool = True) -> argparse.ArgumentParser:
        parent = signer if signs else client
        command: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help, parents=[parent])
        for place in places:
            command.add_argument(place)
        command.set_defaults(run=run, action=name)
        return command

    command = add("create", "Found a community.", run_create, "name")
    command.add_argument("--about", required=True, help="its description")
    command.add_argument("--approval", action="store_true", help="who joins is decided by its moderators")
    command = add("rules", "Give a community new rules.", run_rules, "space")
    command.add_argument("count", type=int, help="how many rules the text has, numbered from 1")
    command.add_argument("text")
    add("join", "Join a community, or ask to.", run_simple, "space")
    add("leave", "Leave a community, or take the request back.", run_simple, "space")
    add("appoint", "Make a member a moderator.", run_about_account, "space", "account")
    add("dismiss", "End a moderator's role.", run_about_account, "space", "account")
    add("admit", "Let somebody in who asked to join.", run_admit, "space", "account")
    add("post", "Publish in a community.", run_post, "space", "text")
    command = add("report", "Report a post to the moderators of its place.", run_report, "post", "text")
    command.add_argument("--rule", type=int, default=0, help="of that place; 0: none in particular")
    for kind, what in (("hide", "post"), ("lock", "post"), ("warn", "account"), ("suspend", "account")):
        command = add(kind, f"Decide to {kind}; the text states the facts.", run_decide, "space", what, "text")
        command.add_argument("--rule", type=int, required=True)
        if kind == "suspend":
            command.add_argument("--beats", type=int, required=True, help="how long")
    add("lift", "Take a decision back.", run_lift, "decision", "text")
    add("appeal", "Contest a decision about yourself.", run_appeal, "decision", "text")
    add("say", "Say something in an appeal.", run_say, "appeal", "text")
    command = add("review", "Vote on an appeal that you were drawn for.", run_review, "appeal")
    command.add_argument("vote", choices=("uphold", "reverse"))
    command.add_argument("text", help="why")
    add("escalate", "Take an appeal that was upheld to the platform.", run_escalate, "appeal")
    add("enlist", "Be willing to review appeals.", run_enlist)
    add("list", "List communities, by the coherence of what is published there.", run_list, signs=False)
    add("queue", "Show the reports that wait in a space.", run_queue, "space", signs=False)
    add("decision", "Show a decision with its reasons.", run_decision, "decision", signs=False)


def run_create(given: argparse.Namespace, output: Output) -> int:
    body = {"join": "approval" if given.approval else "open", "name": given.name}
    return sign_and_submit(given, output, "community.CommunityCreated", body, text=given.about)


def run_rules(given: argparse.Namespace, output: Output) -> int:
    body = {"rules": given.count, "space": find_space(given)}
    return sign_and_submit(given, output, "community.RulesetChanged", body, text=given.text)


def run_simple(given: argparse.Namespace, output: Output) -> int:
    kind = {"join": "community.CommunityMemberJoined", "leave": "community.CommunityMemberLeft"}[given.action]
    return sign_and_submit(given, output, kind, {"space": find_space(given)})


def run_about_account(given: argparse.Namespace, output: Output) -> int:
    kind = {"appoint": "community.ModeratorAppointed", "dismiss": "community.ModeratorRemoved"}[given.action]
    body = {"account": find_account(given), "space": find_space(given)}
    return sign_and_submit(given, output, kind, body)


def run_admit(given: argparse.Namespace, output: Output) -> int:
    body = {"accepted": True, "account": find_account(given), "space": find_space(given)}
    return sign_and_submit(given, output, "community.MembershipDecided", body)


def run_post(given: argparse.Namespace, output: Output) -> int:
    body: dict[str, Any] = {"space": find_space(given), "tags": []}
    return sign_and_submit(given, output, "content.PostPublished", body, text=given.text)


def run_report(given: argparse.Namespace, output: Output) -> int:
    body = {"rule": given.rule, "subject": given.post}
    return sign_and_submit(given, output, "graph.ContentReported", body, text=given.text)


def run_decide(given: argparse.Namespace, output: Output) -> int:
    """Decide by the newest version of the rules of the space."""
    _, client = client_of(given)
    platform = given.space == PLATFORM_NAME
    ruleset = 1 if platform else client.get(f"/communities/{quote(given.space, safe='')}")["community"]["ruleset"]
    subject = given.post if given.action in ("hide", "lock") else resolve_account(client, given.account)
    body = {
        "automated": False,
        "duration_beats": getattr(given, "beats", None),
        "rule": given.rule,
        "ruleset": ruleset,
        "space": find_space(given),
        "subject": subject,
    }
    return sign_and_submit(given, output, DECIDED_BY[given.action, platform], body, text=given.text)


def run_lift(given: argparse.Namespace, output: Output) -> int:
    _, client = client_of(given)
    decision = client.get(f"/decisions/{quote(given.decision, safe='')}")["decision"]
    platform = decision["space"] == PLATFORM_NAME
    kind = LIFTED_BY.get((decision["kind"], platform))
    if kind is None:
        raise UsageError("a warning is not lifted; whom it concerns can appeal it")
    body = {"decision": given.decision, "space": NO_SPACE if platform else decision["space"]}
    return sign_and_submit(given, output, kind, body, text=given.text)


def run_appeal(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "appeals.AppealSubmitted", {"decision": given.decision}, text=given.text)


def run_say(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "appeals.AppealMessageAdded", {"appeal": given.appeal}, text=given.text)


def run_review(given: argparse.Namespace, output: Output) -> int:
    body = {"appeal": given.appeal, "vote": given.vote}
    return sign_and_submit(given, output, "appeals.AppealReviewed", body, text=given.text)


def run_escalate(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "appeals.EscalationRequested", {"appeal": given.appeal})


def run_enlist(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "appeals.ReviewerEnlisted", {})


def find_space(given: argparse.Namespace) -> str:
    """Return the id of the space that a command names."""
    if given.space == PLATFORM_NAME:
        return NO_SPACE
    _, client = client_of(given)
    return str(client.get(f"/communities/{quote(given.space, safe='')}")["community"]["space"])


def find_account(given: argparse.Namespace) -> str:
    """Return the id of the account that a command names."""
    return resolve_account(client_of(given)[1], given.account)


def run_list(given: argparse.Namespace, output: Output) -> int:
    answer = client_of(given)[1].get("/communities")
    if output.document(answer):
        return 0
    rows = [(each["name"], each["members"], each["score"][:6], each["join"]) for each in answer["items"]]
    output.table("communities", ("name", "members", "score", "join"), rows)
    return 0


def run_queue(given: argparse.Namespace, output: Output) -> int:
    answer = client_of(given)[1].get("/moderation/queue", space=given.space)
    if output.document(answer):
        return 0
    for each in answer["items"]:
        post = each["subject"]
        output.line(f"[bold]{post['post_id']}[/bold]")
        output.line(f"  {each['reports']} reports, priority {each['priority'][:6]}  {plain(post['text'] or '')[:60]}")
    output.line(f"{answer['waiting']} wait")
    return 0


def run_decision(given: argparse.Namespace, output: Output) -> int:
    answer = client_of(given)[1].get(f"/decisions/{quote(given.decision, safe='')}")
    if output.document(answer):
        return 0
    found = answer["decision"]
    output.facts(
        [
            ("decision", f"{found['kind']}, {found['state']}"),
            ("scope", found["space"]),
            ("about", found["subject"]),
            ("decided by", short(found["decider"])),
            ("rule", f"{found['rule']} of version {found['ruleset']}"),
            ("facts", plain(found["facts"] or "erased")),
            ("can be appealed", f"before beat {found['contest_until']}"),
            ("appeal", found["appeal"] or "none"),
        ]
    )
    return 0
