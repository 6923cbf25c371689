"""A law from a formula that the user writes: `E + A/params**a + B/tokens**b`.

Names that are columns are its variables, all others its parameters. The formula is parsed, and its
value computed from the parsed tree. Where a parameter multiplies powers of columns it is recognised
as their amplitude, so that the columns can be scaled and its start be computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from scaling_cli.columns import about
from scaling_cli.errors import InputError
from scaling_cli.expressions import (
    Among,
    Binary,
    Call,
    Expression,
    Like,
    Literal,
    Missing,
    Name,
    Node,
    Unary,
    Within,
    parse,
)
from scaling_cli.laws.base import Array, Evidence, Law, Parameter, PowerSum, Source

MARK = "="  # before the formula in the id of such a law
EXPONENT_RANGE = (0.05, 1.5)  # those of every published power law
SIGNED_RANGE = (-1.5, 1.5)  # of an exponent that may raise or lower the target
FACTOR_RANGE = (1e-3, 1e3)  # of a parameter of which nothing is known
AMPLITUDE_RANGE = (0.02, 2.0)  # in units of the target, on scaled columns
INNER_RANGE = (0.05, 20.0)  # of an amplitude inside a power or a function
OWN = Source("formula", 0, "")


@dataclass
class _Term:
    """A product of parameters to the first power and of columns to powers that are parameters."""

    parameters: list[str] = field(default_factory=list)
    powers: list[tuple[str, str, int]] = field(default_factory=list)  # column, exponent, sign
    plain: bool = True
    decays: bool = False  # a factor that is no plain power is a power or an exponential


def formula_law(text: str, columns: Iterable[str] | None = None) -> Law:
    """The law that `text` says over `columns`; InputError where it is none.

    Before the columns are known, the canonical ones alone are its variables.
    """
    parsed = parse(text)
    known = set(columns or ())
    variables = tuple(name for name in parsed.names if name in known or about(name))
    names = [name for name in parsed.names if name not in variables]
    if columns is not None and not (variables and names):
        lacking = "column" if not variables else "parameter"
        raise InputError(
            f"the formula {text} has no {lacking}",
            "Names of columns (params, tokens, flops, or mapped ones) are its variables, all others"
            " its parameters: E + A/params**a.",
        )
    terms = list(_terms(parsed.root, variables))
    bases = _inside(parsed.root)
    inner = [item for node in bases for item in _terms(node, variables) if _is_monomial(item)]
    monomials = [item for item in terms if _is_monomial(item)]
    counts = _counts(parsed.root)
    centred = [item for item in (*monomials, *inner) if counts[item.parameters[0]] == 1]
    # A column may be scaled if it stands in nothing but such terms.
    inside: dict[str, int] = {}
    for item in centred:
        for column, _, _ in item.powers:
            inside[column] = inside.get(column, 0) + 1
    scaled = {column for column, count in inside.items() if counts[column] == count}
    centres = {
        item.parameters[0]: {
            column: exponent if sign < 0 else f"-{exponent}"
            for column, exponent, sign in item.powers
            if column in scaled
        }
        for item in centred
    }
    kinds = _kinds(parsed.root, terms, variables)
    parameters = tuple(_parameter(name, kinds[name], centres.get(name, {})) for name in names)
    return Law(
        id=MARK + text,
        title="A formula of one's own",
        formula=text,
        variables=variables,
        parameters=parameters,
        predict=partial(_value, parsed),
        form=_form(parsed.root, terms, centres, variables, names),
        source=OWN,
        family="formula",
        expand=partial(formula_law, text),
        evidence=Evidence("derived", "as written"),
        monotone=False,
    )


def _value(parsed: Expression, **at: Array) -> Array:
    value: Array = parsed.evaluate(at.__getitem__)
    return value


def _kinds(root: Node, terms: list[_Term], columns: tuple[str, ...]) -> dict[str, str]:
    """What each name is that is no column, by the place where it stands."""
    counts = _counts(root)
    kinds = dict.fromkeys(counts, "factor")
    kinds |= dict.fromkeys(_exponents(root), "exponent")
    kinds |= dict.fromkeys(_signed(root, columns), "signed exponent")
    for item in terms:
        once = [name for name in item.parameters if counts[name] == 1]
        if len(once) == len(item.parameters) == 1:
            if (
                item.plain
                and kinds[once[0]] == "factor"
                and any(kinds[exponent] == "signed exponent" for _, exponent, _ in item.powers)
                and len(terms) > 1
            ):
                kinds[once[0]] = "signed amplitude"
            elif item.plain:
                kinds[once[0]] = "amplitude" if item.powers else "floor"
            else:
                kinds[once[0]] = "amplitude" if item.decays else "coefficient"
    return kinds


def _parameter(name: str, kind: str, centre: dict[str, str]) -> Parameter:
    match kind:
        case "signed amplitude":  # a target may rise to its ceiling by a falling power
            return Parameter(
                name,
                "amplitude",
                *AMPLITUDE_RANGE,
                "identity",
                centre=centre,
                of_target=True,
                linear=True,
            )
        case "floor":
            return Parameter(name, "additive term", 0.05, 0.99, of_target=True, linear=True)
        case "amplitude":
            return Parameter(
                name, "amplitude", *AMPLITUDE_RANGE, centre=centre, of_target=True, linear=True
            )
        case "coefficient":  # of a logarithm, say: either sign is as likely
            return Parameter(
                name, "coefficient", -1.0, 1.0, "identity", of_target=True, linear=True
            )
        case "exponent":
            return Parameter(name, "exponent", *EXPONENT_RANGE)
        case "signed exponent":
            return Parameter(name, "exponent", *SIGNED_RANGE, "identity")
    if centre:
        return Parameter(name, "amplitude", *INNER_RANGE, centre=centre)
    return Parameter(name, "factor", *FACTOR_RANGE)


def _form(
    root: Node, terms: list[_Term], centres: dict[str, dict[str, str]],
    variables: tuple[str, ...], names: list[str],
) -> PowerSum | None:  # fmt: skip
    """The closed form, where the formula is a sum of a floor and of falling powers."""
    if any(not item.parameters for item in terms):
        return None  # a plain number is added
    floors = [item.parameters[0] for item in terms if item.plain and not item.powers]
    powers = [item for item in terms if _is_monomial(item)]
    falling = all(sign < 0 for item in powers for _, _, sign in item.powers)
    whole = {column for centre in centres.values() for column in centre} == set(variables)
    used = {name for item in terms for name in item.parameters}
    used |= {exponent for item in powers for _, exponent, _ in item.powers}
    if len(floors) > 1 or len(powers) + len(floors) != len(terms) or not powers:
        return None
    if not falling or not whole or used != set(names) or _has_minus(root):
        return None
    if any(len(item.parameters) != 1 or not item.plain for item in terms):
        return None
    return PowerSum(floor=floors[0] if floors else None)


def _has_minus(node: Node) -> bool:
    """Whether a term of the outer sum is taken away."""
    match node:
        case Binary("-", _, _) | Unary("-", _):
            return True
        case Binary("+", left, right):
            return _has_minus(left) or _has_minus(right)
    return False


def _is_monomial(item: _Term) -> bool:
    return item.plain and len(item.parameters) == 1 and bool(item.powers)


def _terms(node: Node, columns: tuple[str, ...]) -> Iterator[_Term]:
    """The terms of a sum."""
    match node:
        case Binary("+" | "-", left, right):
            yield from _terms(left, columns)
            yield from _terms(right, columns)
        case Unary("-", operand):
            yield from _terms(operand, columns)
        case _:
            term = _Term()
            _factors(node, 1, term, columns)
            yield term


def _factors(node: Node, sign: int, item: _Term, columns: tuple[str, ...]) -> None:
    match node:
        case Binary("*", left, right):
            _factors(left, sign, item, columns)
            _factors(right, sign, item, columns)
        case Binary("/", left, right):
            _factors(left, sign, item, columns)
            _factors(right, -sign, item, columns)
        case Binary("**", Name(column), Name(exponent)) if column in columns:
            item.powers.append((column, exponent, sign))
        case Binary("**", Name(column), Unary("-", Name(exponent))) if column in columns:
            item.powers.append((column, exponent, -sign))
        case Name(name) if sign > 0 and name not in columns:
            item.parameters.append(name)
        case Literal(value) if value == 1:
            pass
        case _:
            item.plain = False
            item.decays |= _decays(node)


def _decays(node: Node) -> bool:
    """Whether its sign is known: powers and exponentials are positive, and so are numbers."""
    match node:
        case Binary("**", _, _) | Call("exp", _):
            return True
        case Literal(value):
            return not isinstance(value, str) and value > 0
    return False


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Binary(_, left, right):
            return (left, right)
        case Unary(_, operand):
            return (operand,)
        case Call(_, arguments):
            return arguments
        case Among(item, choices):
            return (item, *choices)
        case Within(item, whole, _):
            return (item, whole)
        case Like(operand, _, _) | Missing(operand, _):
            return (operand,)
    return ()


def _inside(node: Node) -> Iterator[Node]:
    """The bases of powers and the arguments of functions, where sums may stand."""
    match node:
        case Binary("**", left, _) if not isinstance(left, Name):
            yield left
        case Call(_, arguments):
            yield from arguments
    for child in _children(node):
        yield from _inside(child)


def _exponents(node: Node) -> Iterator[str]:
    match node:
        case Binary("**", _, Name(name)) | Binary("**", _, Unary("-", Name(name))):
            yield name
    for child in _children(node):
        yield from _exponents(child)


def _signed(root: Node, columns: tuple[str, ...]) -> set[str]:
    """Exponents of columns that multiply, or of their ratios: whether the target rises with them is
    for the runs to say. Of a product of several all are."""
    signed: set[str] = set()
    kept: set[str] = set()
    for base, name, sign in _powers(root, 1):
        names = _counts(base)
        if not set(names) <= set(columns):
            continue
        free = sign > 0 or (len(names) > 1 and isinstance(base, Binary) and base.operator == "/")
        (signed if free else kept).add(name)
    product = not isinstance(root, Binary) or root.operator in "*/"
    return signed | kept if product and signed else signed - kept


def _powers(node: Node, sign: int) -> Iterator[tuple[Node, str, int]]:
    """Base, exponent and whether it multiplies (1) or divides (-1) of each power by a name."""
    match node:
        case Binary("/", left, right):
            yield from _powers(left, sign)
            yield from _powers(right, -sign)
            return
        case Binary("**", base, Name(name)):
            yield base, name, sign
        case Binary("**", base, Unary("-", Name(name))):
            yield base, name, -sign
    for child in _children(node):
        yield from _powers(child, sign)


def _counts(node: Node) -> dict[str, int]:
    """How often each name stands in the formula."""
    counts = {node.name: 1} if isinstance(node, Name) else {}
    for child in _children(node):
        for name, count in _counts(child).items():
            counts[name] = counts.get(name, 0) + count
    return counts
