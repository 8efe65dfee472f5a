"""Rules for `Bash` against lines that hide a command."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ccproxy.permissions import commands
from ccproxy.permissions.commands import LONGEST
from ccproxy.permissions.rules import Rule, RuleDecision
from ccproxy.permissions.shell import commands_of


def matches(rule: str, decision: RuleDecision, command: str) -> bool:
    return Rule(f"Bash({rule})", decision).matches("Bash", {"command": command})


JOINED = [
    "git log & rm x",
    "git log &rm x",
    "git log && rm x",
    "git log || rm x",
    "git log | sh",
    "git log |& sh",
    "git log; rm x",
    "git log\nrm x",
    "git log\rrm x",
    "git log \\\n; rm x",
    "git log $(rm x)",
    'git log "$(rm x)"',
    "git log `rm x`",
    "git log <(rm x)",
    "git log >(rm x)",
    "git log =(rm x)",
    "git log > x",
    "git log >| x",
    "git log &> x",
    "git log 2>&1",
    "git log < x",
    "git log <<EOF\nrm x\nEOF",
    "git log <<< x",
    "git log ${x:-$(rm x)}",
    "git log ${x@P}",
    "git log $[a[$(rm x)]]",
    "git log *(e:'rm x':)",
    "git log \\'(e:x:)\\'",
    "git log '&& rm x'",
    'git log "&& rm x"',
    "git log '; rm x'",
    "git log\x00rm x",
    "git log\x0brm x",
    "git log\x1brm x",
    "git log\x85rm x",
    "git log\u2028rm x",
    "git log\u2029rm x",
]


@pytest.mark.parametrize("command", JOINED)
def test_a_wildcard_allows_one_plain_command(command: str) -> None:
    assert not matches("git *", "allow", command)
    assert not matches("git:*", "allow", command)
    assert not matches("git*", "allow", command)


@pytest.mark.parametrize(
    "command",
    [
        "git log",
        "git\tlog",
        "git log --format='%(refname) \"x\"'",
        'git log --pretty="%h (%an)"',
        "git log $HOME",
        "  git log  ",
    ],
)
def test_what_a_wildcard_allows(command: str) -> None:
    assert matches("git *", "allow", command)


@pytest.mark.parametrize(
    "command", ["FOO=1 git log", "env git log", "/tmp/git log", "'git' log", "\\git log", "GIT log"]
)
def test_another_spelling_is_not_allowed(command: str) -> None:
    assert not matches("git *", "allow", command)


def test_an_exact_rule_allows_exactly_that() -> None:
    line = 'for x in *; do echo $(date) > "$x"; done'
    assert matches(line.replace("*", r"\*"), "allow", line)
    assert not matches(line.replace("*", r"\*"), "allow", f"{line}; rm x")
    assert not matches("ls", "allow", "ls\r")
    assert not matches("ls", "allow", "ls\x0b")


HIDDEN = [
    "rm x",
    "  rm   x",
    "rm\tx",
    "ls; rm x",
    "ls&rm x",
    "ls && rm x",
    "ls || rm x",
    "ls | rm x",
    "ls |& rm x",
    "ls\nrm x",
    "ls \\\n&& rm x",
    "r\\\nm x",
    "(rm x)",
    "{ rm x; }",
    "! rm x",
    "$(rm x)",
    'echo "$(rm x)"',
    'echo "a `rm x` b"',
    "echo <(rm x)",
    "echo >(rm x)",
    "if true; then rm x; fi",
    "if rm x; then true; fi",
    "while rm x; do true; done",
    "for a in b; do rm x; done",
    "case a in a) rm x;; esac",
    "f() { rm x; }; f",
    "FOO=1 rm x",
    "FOO=1 BAR=2 rm x",
    "FOO='a b' rm x",
    'FOO="a b" rm x',
    'FOO="a;b" rm x',
    "FOO='a;b' rm x",
    "FOO=$(date) rm x",
    "FOO=`date` rm x",
    "FOO+=1 rm x",
    "A[1]=2 rm x",
    "'rm' x",
    '"rm" x',
    "r'm' x",
    'r""m x',
    "\\rm x",
    "r\\m x",
    "$'rm' x",
    '$"rm" x',
    "$'\\x72m' x",
    "/bin/rm x",
    "./rm x",
    "~/bin/rm x",
    "env rm x",
    "env -i A=1 /bin/rm x",
    "command rm x",
    "exec rm x",
    "sudo -u root rm x",
    "nohup rm x",
    "time -p rm x",
    "timeout 5 rm x",
    "xargs rm x",
    "find . -exec rm x {} +",
    "bash -c 'rm x'",
    'sh -c "rm x; ls"',
    "eval rm x",
    'eval "rm" x',
    "ssh host rm x",
    ">f rm x",
    "2>f rm x",
    "<f rm x",
    "2>&1 rm x",
    "&>f rm x",
    "true &>f rm x",
    "cat <<EOF\nhello\nEOF\nrm x",
    "cat <<EOF\ndon't\nEOF\nrm x",
    "cat <<'EOF'\ndon't\nEOF\nFOO=\"a;b\" rm x",
    "cat <<-EOF\n\tdon't\n\tEOF\nrm x",
    "cat <<A <<B\ndon't\nA\nB\nrm x",
    "# don't\nrm x",
    'ls # don\'t\nFOO="a;b" rm x',
    "echo a#'\nrm x",
    "echo \\ #'; FOO=1 rm x",
    "echo 'it'\\''s'; rm x",
    "[ -f x ] && rm x",
    "[[ -f x ]] && rm x",
    # The name is not written out.
    "$X x",
    "${X} x",
    '"$X" x',
    "r$@m x",
    "r${Y}m x",
    "/bin/r? x",
    "/bin/[r]m x",
    "/b*/rm x",
    "{rm,x}",
    "{r,}m x",
    'bash -c "$X"',
    'eval "$X"',
    "rm${IFS}x",
]


@pytest.mark.parametrize("command", HIDDEN)
def test_a_denied_command_is_found(command: str) -> None:
    assert matches("rm *", "deny", command)
    assert matches("rm *", "ask", command)
    assert matches("rm:*", "deny", command)


@pytest.mark.parametrize(
    "command",
    [
        "rmdir x",
        "echo rm",
        "echo 'rm x'",
        "git rm x",
        "cat $X",
        "make CC=$X",
        "X=$Y make",
        "ls *.py",
        'git commit -m "fix: $x | $y"',
        "bash build.sh $X",
        "cat > x.php <<'EOF'\n$a = 1;\nEOF",
        "[ -f x ]",
        "",
    ],
)
def test_other_commands_are_not(command: str) -> None:
    assert not matches("rm *", "deny", command)


def test_a_rule_with_several_words() -> None:
    for command in ("git push", "git  push origin", "git pull && git push -f", "sudo git push", "'git' \"push\" x"):
        assert matches("git push*", "deny", command)
    assert not matches("git push*", "deny", "git pull")


def test_a_very_long_command() -> None:
    for command in ("x" * (LONGEST + 1), f"git {'x' * LONGEST}"):
        assert not matches("git *", "allow", command)
        assert matches("rm *", "deny", command)


def _words(line: str) -> list[list[str]]:
    return [[word.text for word in words] for words in commands_of(line)]


def test_words_without_their_quotes() -> None:
    assert _words('a \'b c\' "d\\" e"f \\g;h') == [["a", "b c", 'd" ef', "g"], ["h"]]
    assert _words('a "b $(c "d e") f" g') == [["a", "b "], ["c", "d e"], [" f", "g"]]


@given(st.text(st.sampled_from("ab \t\n'\"\\`$(){}<>;&|#=[]*?1-!E"), max_size=60))
def test_any_line_is_read(line: str) -> None:
    commands_of(line)
    assert not matches("b *", "allow", line) or not set(";&|`<>\n") & set(line.strip())


SIGNS = [
    "`",
    "$(",
    "{",
    '"',
    "'",
    "\\",
    "#",
    ";",
    "! ",
    "X=1 ",
    "<<a\n",
    "(",
    ")",
    "$",
    "9",
    "a ",
    "\n",
    '"$(',
    "sudo rm",
    "a<<",
    "[",
    "*",
    "rm",
    "/",
]


@pytest.mark.parametrize("sign", SIGNS)
def test_reading_takes_linear_work(sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are what is counted: each is read once by each of three readings."""
    for pattern in ("rm *", "*a*b*c*d*e*f"):
        counted = []
        for size in (20_000, LONGEST):
            line = (sign * size)[:size]
            matches(pattern, "deny", line)
            matches(pattern, "allow", line)
            understood, others = commands.readings(line)
            counted.append(sum(map(len, understood)) + sum(map(len, others)))
        assert counted[1] <= 6 * counted[0] + 100
