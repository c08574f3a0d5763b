#!/usr/bin/env python3
"""Fills segments/, datatypes/, codes/ and messages/ from the tables of HL7's v2-to-FHIR guide.

    python3 transforms/maps/generate.py path/to/v2-to-fhir/mappings

Mechanical only: what a row of the guide says, it says here. Rows that cannot be said are listed in
NOT-MAPPED.md with the reason. Our own decisions stand in ours/ and survive this script.
"""
import csv, pathlib, re, shutil, sys, tomllib

HERE = pathlib.Path(__file__).parent
ELEMENTS = {}
PRIMITIVES = set("""base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid
    positiveInt string time unsignedInt uri url uuid xhtml""".split())
DROPPED = []  # (table, source, target, reason)
NO_TARGET = {}  # table: the sources to which the guide itself gives no target
NO_SOURCE = {}  # code table: how many target codes stand in it without a source code

# Misprints of the guide, each decided once: pattern, replacement.
MISPRINTS = [
    (r"sytem\b", "system"), (r"coding\[3\.version", "coding[3].version"), (r"suffix\[2\}", "suffix[2]"),
    (r"valueSampedData", "valueSampledData"), (r"(extension(\[\d\])?)\.uri$", r"\1.url"),
    (r"^payer\[1\]", "payor[1]"), (r"policyHolder\(\[1\]Organization", "policyHolder[1](Organization"),
    (r"Practioner\b", "Practitioner"), (r"PractitionerRole\.Practitioner\(", "PractitionerRole.practitioner("),
    (r"practioner\(", "practitioner("), (r"organi[sz]ation\.\(|organziation\.\(", "organization("),
    (r"PractitionerRole\.practitioner\)$", "PractitionerRole.practitioner(Practitioner))"),
    (r"PractitionerRole\[1\]\.practitioner\)$", "PractitionerRole[1].practitioner(Practitioner))"),
    (r"note\(Annotation\.(\w+)\)", r"note.\1"), (r"(?i)occur+[en]+ceTiming", "occurrenceTiming"),
    (r"occurrenceTiming\.(bounds|duration)", r"occurrenceTiming.repeat.\1"),
    (r"repeat\.boundPeriod", "repeat.boundsPeriod"), (r"coding\.value$", "coding.code"), (r"coding\.uri$", "coding.system"),
    (r"valuedateTime", "valueDateTime"), (r"value\.CodeableConcept", "valueCodeableConcept"),
    (r"^(\[\d\])\.location\(Location\.([\w.\[\]]+)\)$", r"\1.\2"), (r"^Quantity\.", ""),
    (r"\.reference\((\w+)", r"(\1"), (r"individual\[1\]\(", "individual("), (r"assigner\(Organization\[1\]\.", "assigner(Organization."),
    (r"valueReference\(Condition$", "valueReference(Condition)"), (r"^code\[1\]\.value$", "code[1]"),
    (r"medication\(", "medicationReference("), (r"(strength\.\w+\.\w+)$", r"\1)"), (r"\)\)$", "))"),
    (r"doseAndRate\.timing", "timing"), (r"Operation$", "$operation"), (r"\s+", ""), (r"^text$(?=.)", "text"),
    (r"fastingStatus", "fastingStatus"), (r"agent\[(\d)\]\.role\[1\]\.coding", r"agent[\1].role.coding"),
    (r"repeat\.countMax", "repeat.countMax"), (r"occurred$", "occurredDateTime"), (r"^Account$", "Account"),
    (r"^location\[1\]\(", "location("),
    (r"^extension\[2\]\.valueReference\(Location\)$", "extension[2].valueReference(Location.address)"),
]
# Remarks in the assignment column that the engine does by itself, or by a named conversion.
REMARKS = [("must convert v2 date time format", ()), ("convert from A or HEX", ("convert", "base64")),
           ("map HL7 code system", ()), ("concatenate according to XPN.11", ("convert", "name-text"))]


def load_elements():
    for line in (HERE.parent.parent / "src" / "message" / "fhir" / "definitions" / "elements.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, *fields = line.split(" ")
            ELEMENTS[name] = fields
    for name, fields in list(ELEMENTS.items()):
        table = {}
        for field in fields:
            key, types = field.split(":", 1)
            key = key.rstrip("*!")
            types = [t.split("(")[0].split("@")[0] for t in re.split(r",(?![^(]*\))", types)]
            if key.endswith("[x]"):
                for t in types:
                    table[key[:-3] + t[0].upper() + t[1:]] = t
            else:
                table[key.rstrip("*!")] = types[0]
        ELEMENTS[name] = table


def path_type(root, path):
    """The type at `path` below `root`, or a string that says what is wrong."""
    if path in ("$this", "$value"):
        return root, None
    kind, rest, depth = root, path, 0
    rest = re.sub(r"^\[[\w-]+\]\.", "", rest)
    while rest:
        m = re.match(r"^([A-Za-z]\w*)(\[[\w-]+\])?(\()?", rest)
        if not m:
            return None, f"`{rest}` cannot be read"
        step, rest = m.group(1), rest[m.end():]
        if kind in PRIMITIVES:
            kind = "Element"
        fields = ELEMENTS.get(kind)
        if fields is None or step not in fields:
            return None, f"R4's {kind} has no `{step}`"
        kind = fields[step]
        if m.group(3):
            r = re.match(r"^([A-Z]\w*)(\[[\w-]+\])?(\.)?", rest)
            if not r or r.group(1) not in ELEMENTS:
                return None, f"`{rest}` names no resource"
            if kind != "Reference":
                return None, f"`{step}` is no reference"
            kind, rest, depth = r.group(1), rest[r.end():], depth + 1
            if r.group(3):
                continue
        while rest.startswith(")") and depth:
            rest, depth = rest[1:], depth - 1
        if rest.startswith("."):
            rest = rest[1:]
        elif rest:
            return None, f"`{rest}` is left over"
    return (kind, None) if depth == 0 else (None, "a bracket is not closed")


class Condition:
    """The guide's ANTLR column in our words."""

    TOKEN = re.compile(r'\s*("[^"]*"|\'[^\']*\'|“[^”]*”|\(|\)|,|>=|<=|>|<|=|[A-Za-z0-9][A-Za-z0-9_.\-]*)')

    def __init__(self, text, subject):
        text = re.sub(r"\bLST\.count\b", "COUNT", text, flags=re.I)
        text = re.sub(r"\b(\w+-[\d.]+)\s+COUNT\b", r"\1 COUNT", text)
        text = text.replace("NOT VAlUED", "NOT VALUED").replace(" AREA NOT ", " NOT ").replace("PL3.NOT", "PL.3 NOT")
        text = re.sub(r"\bVALUE\b", "VALUED", text)
        text = re.sub(r"^IF \(OBX-2 EQUALS \"SN\"  AND", 'IF OBX-2 EQUALS "SN" AND', text)
        self.tokens, at = [], 0
        while at < len(text.rstrip()):
            m = self.TOKEN.match(text, at)
            if not m:
                raise ValueError(f"`{text[at:]}`")
            self.tokens.append(m.group(1))
            at = m.end()
        self.at, self.subject = 0, subject

    def peek(self, *words):
        if self.at >= len(self.tokens):
            return False if words else None
        token = self.tokens[self.at]
        return token.upper() in words if words else token

    def take(self, *words):
        if self.peek(*words):
            self.at += 1
            return True
        return False

    def translate(self):
        out = self.either()
        if self.at != len(self.tokens):
            raise ValueError("words are left over: " + " ".join(self.tokens[self.at:]))
        return out

    def either(self):
        out = self.both()
        while self.take("OR"):
            out = f"{out} or {self.both()}"
        return out

    def both(self):
        out = [self.term()]
        while self.take("AND"):
            out.append(self.term())
        return " and ".join(f"({t})" if " or " in t and not t.startswith("(") else t for t in out)

    def term(self):
        while self.take("IF"):
            pass
        if self.take("("):
            inner = self.either()
            if not self.take(")"):
                raise ValueError("a bracket is not closed")
            return f"({inner})"
        if self.peek("NOT") and not self.is_path(self.at + 1) and self.tokens[self.at + 1:self.at + 2] == ["("]:
            self.take("NOT")
            return f"not {self.term()}"
        paths, word = [self.path()], None
        while self.peek("AND", "OR") and self.is_path(self.at + 1) and self.shares(self.at + 2):
            word = self.tokens[self.at].lower()
            self.at += 1
            paths.append(self.path())
        tests = self.test()
        if len(paths) > 1 and tests.startswith("not ") and word == "or":
            word = "or"
        joined = f" {word} ".join(tests.format(p) for p in paths)
        return joined if len(paths) == 1 else f"({joined})"

    def shares(self, at):
        """`X AND Y VALUED`: both share what follows; `X VALUED AND ...` does not get here."""
        return True if self.at and self.is_path(self.at - 1) else False

    def is_path(self, at):
        return at < len(self.tokens) and re.match(r"^[A-Z][A-Z0-9]{0,2}([-.][\d.]+)?$", self.tokens[at]) is not None \
            and self.tokens[at] not in ("IF", "AND", "OR", "NOT", "IN", "IS", "TO")

    def path(self):
        if self.is_path(self.at):
            token = self.subject = self.tokens[self.at]
            self.at += 1
            m = re.match(r"^(HD|CX|CWE|XAD|OG|EIP|RPT)-(\d+)$", token)
            token = f"{m.group(1)}.{m.group(2)}" if m else token
            return re.sub(r"^(ORC|OBR)\.(\d+)$", r"\1-\2", token)
        return self.subject

    def test(self):
        self.take("IS")
        negated = self.take("NOT")
        self.take("IS")
        no = "not " if negated else ""
        if self.take("DOES"):
            if self.take("NOT") and self.take("EXIST"):
                return "not {} valued"
        if self.take("EMPTY"):
            return "not {} valued"
        if self.take("VALUED"):
            return no + "{} valued"
        if self.take("EQUALS", "EQUAL", "="):
            self.take("TO")
            return "{} " + ("!=" if negated else "=") + " " + self.literal()
        if self.take("IN"):
            self.literal_list_start()
            values = [self.literal()]
            while self.take(","):
                values.append(self.literal())
            if not self.take(")"):
                raise ValueError("a list is not closed")
            return no + "{} in [" + ", ".join(values) + "]"
        if self.take("COUNT", "LENGTH"):
            function = self.tokens[self.at - 1].lower()
            return f"{function}({{}}) {self.comparison()}"
        if self.peek() and self.peek()[0] in "\"'“":
            return "{} " + ("!=" if negated else "=") + " " + self.literal()
        if self.is_segment():
            return "{} valued"
        raise ValueError("no test after the path")

    def is_segment(self):
        return self.at and re.match(r"^[A-Z][A-Z0-9]{2}$", self.tokens[self.at - 1])

    def literal_list_start(self):
        if not self.take("("):
            raise ValueError("a list is expected")

    def comparison(self):
        for words, sign in ((("GREATER", "THAN", "OR", "EQUALS"), ">="), (("LESS", "THAN", "OR", "EQUALS"), "<="),
                            (("GREATER", "THAN"), ">"), (("LESS", "THAN"), "<"), (("NOT", "EQUALS"), "!="),
                            (("EQUALS",), "="), ((">",), ">"), (("=",), "=")):
            if tuple(t.upper() for t in self.tokens[self.at:self.at + len(words)]) == words:
                self.at += len(words)
                return f"{sign} {self.number()}"
        raise ValueError("no comparison")

    def number(self):
        token = self.tokens[self.at]
        self.at += 1
        return str(int(token))

    def literal(self):
        token = self.peek()
        if not token or token[0] not in "\"'“":
            raise ValueError(f"`{token}` is no literal")
        self.at += 1
        return "'" + token[1:-1] + "'"


def rows_of(file):
    with open(file, encoding="utf-8-sig", newline="") as handle:
        for row in list(csv.reader(handle))[2:]:
            cells = [re.sub(r"\s*\n\s*", "\n", c).strip() for c in row] + [""] * 20
            if any(cells):
                yield cells


def toml(text):
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", " ")
    return f'"{text}"'


def table_name(file, kind):
    name = pathlib.Path(file).name
    name = re.sub(rf"^HL7 {kind}( - FHIR R4)?_ ", "", name)
    return re.sub(r" - [^-]*\.csv$", "", name)


def write(folder, name, rows, header):
    (HERE / folder).mkdir(exist_ok=True)
    lines = [f"# {header}", ""]
    for row in rows:
        lines.append("[[row]]")
        lines += [f"{key} = {toml(value)}" for key, value in row.items() if value]
        lines.append("")
    (HERE / folder / f"{name}.toml").write_text("\n".join(lines))


def drop(table, source, target, reason):
    DROPPED.append((table, source, squeezed(target), reason))


def squeezed(text):
    """A target of the guide without the blanks and line ends that have strayed into some."""
    return re.sub(r"\s+", "", text)


def assignment(text, prefix):
    """The assignment column: ("fixed", v), ("value", template), None where it is a remark."""
    text = text.strip().replace("“", '"').replace("”", '"').replace("/ValueSet/v2-", "/CodeSystem/v2-")
    if text.count('"') % 2:
        text = text[:-1] if text.endswith('"') and not text.startswith('"') else text + '"'
    for remark, said in REMARKS:
        if remark in text:
            return said
    if text.startswith("/") or (text.startswith("#") and text.endswith("#")):
        return None
    if re.fullmatch(r'"[^"]*"?', text):
        return "fixed", text.strip('"').strip()
    if re.fullmatch(r"[\w:/.-]+", text) and not re.match(r"^[A-Z][A-Z0-9]{1,2}[.-]\d", text):
        return "fixed", text
    pieces = re.findall(r'"[^"]*"|[A-Z][A-Z0-9]{1,2}[.-][\d.]*\d', text)
    rest = re.sub(r'"[^"]*"|[A-Z][A-Z0-9]{1,2}[.-][\d.]*\d', "", text)
    if pieces and not re.sub(r"[\s+]", "", rest):
        return "value", "".join(p.strip('"') if p[0] == '"' else "{" + p + "}" for p in pieces)
    return None


def base_type(name):
    return re.search(r"\[(.*)\]", name).group(1).split("-")[0]


def field_rows(file, kind, known):
    name = table_name(file, kind)
    source_type = name.split("[")[0]
    root, out = base_type(name), []
    root = {"DateTime": "dateTime"}.get(root, root)
    for cells in rows_of(file):
        source, narrative = cells[1], cells[8]
        said_target = squeezed(cells[9] or cells[10])
        antlr, attribute, extension, data_type, vocabulary, assign = cells[6], cells[9], cells[10], cells[14], cells[15], cells[16]
        if kind == "Data Type":
            m = re.search(r"(\d+)$", source)
            source = f"{source_type}.{m.group(1)}" if m else (source_type if source else "")
        else:
            # Misprint: the total daily dose stands in RXO's map as RXE-19.
            source = "RXO-23" if source == "RXE-19" and source_type == "RXO" else source
            m = re.match(r"^\w{3}-(\d+)$", source)
            source = f"{source_type}-{m.group(1)}" if m else ""
        if not attribute and not extension:
            if cells[3] == "SI":
                out.append({"from": source, "skip": "a sequence number"})
            elif source:
                NO_TARGET.setdefault(name, []).append(source)
            continue
        if extension and not re.match(r"^assign", extension):
            drop(name, source, said_target, "an extension that the guide has not defined")
            continue
        row = {"from": source}
        m = re.match(r'^(.*?)="?([^"]+)"?$', attribute)
        if m:
            attribute, assign = m.group(1), f'"{m.group(2)}"'
        if extension:
            assign = '"' + re.search(r'"([^"]*)"', extension).group(1) + '"'
        target = attribute
        for pattern, replacement in MISPRINTS:
            target = re.sub(pattern, replacement, target)
        target = target.replace("[each]", "[each]")
        if re.search(r"partOf(\.reference)?\(Location", target):
            drop(name, source, said_target, "said by `chain` of the table")
            continue
        kind_at, wrong = path_type(root, target)
        if wrong or target.startswith("[1-6]"):
            drop(name, source, said_target, wrong or "said per instance in ours/")
            continue
        if data_type:
            if data_type.lower() not in known:
                drop(name, source, said_target, f"the guide has no map {data_type}")
                continue
            row["as"] = known[data_type.lower()]
            assign = "" if kind_at not in PRIMITIVES else assign
            made = base_type(row["as"])
            if kind_at == "Reference" and made in ELEMENTS and "identifier" in ELEMENTS[made]:
                target, kind_at = re.sub(r"(actor)\[1\]$", r"\1", target) + f"({made})", made
            if not fits(made, kind_at) and not fits(made, parent_type(root, target)):
                other = f"{row['as'].split('[')[0]}[{kind_at}]".lower()
                if other not in known:
                    drop(name, source, said_target, f"{row['as']} makes a {made}, the element holds a {kind_at}")
                    continue
                row["as"] = known[other]
        elif assign and kind_at == "CodeableConcept":
            target, kind_at = target + ".coding.code", "code"
        row["to"] = target
        if vocabulary:
            row["code"] = re.sub(r"[/ ]", "", vocabulary)
        if assign:
            said = assignment(assign, source_type)
            if said is None:
                drop(name, source, said_target, f"the guide describes it only in words: {assign[:80]}")
                continue
            if said:
                row[said[0]] = said[1]
                row.pop("as", None)
                row.pop("code", None)
        if antlr:
            try:
                row["when"] = Condition(antlr, source or source_type).translate()
            except (ValueError, IndexError) as wrong:
                drop(name, source, said_target, f"its condition cannot be said: {antlr[:80]}")
                continue
            own = cells[3] if kind == "Segment" else source_type
            if kind == "Segment":
                row["when"] = re.sub(rf"\b{own}\.(\d)", rf"{source}.\1", row["when"])
            else:
                row["when"] = re.sub(rf"\b{own}-(\d)", rf"{own}.\1", row["when"])
            if kind == "Data Type":
                row["when"] = re.sub(r"\b(CWE|PL)\.(\d)", rf"{source_type}.\2", row["when"])
        if not {"fixed", "value", "as", "convert"} & row.keys():
            if not source or source == source_type and kind == "Segment":
                drop(name, source, said_target, "a value without a source")
                continue
            if kind_at not in PRIMITIVES:
                guess = f"{cells[3]}[{kind_at}]".lower()
                if guess not in known:
                    drop(name, source, said_target, f"no map from {cells[3]} to {kind_at}")
                    continue
                row["as"] = known[guess]
        if "value" in row:
            row["value"] = row["value"].replace("{MSG.", "{MSH-9.")
        if said_target != squeezed(row["to"]):
            row["guide"] = said_target
        if narrative:
            row["note"] = narrative
        out.append(row)
    return name, out


def parent_type(root, target):
    target = re.sub(r"^\[\d+\]\.", "", target)
    head = re.sub(r"\.?[A-Za-z]\w*(\[[\w-]+\])?\)*$", "", target)
    head += ")" * (head.count("(") - head.count(")"))
    return path_type(root, head)[0] if head and not head.endswith("(") else root


def fits(made, kind):
    primitive = {"DateTime": "dateTime", "String": "string"}
    made = primitive.get(made, made)
    quantities = {"Quantity", "Duration", "Age", "SimpleQuantity"}
    return made == kind or (made in PRIMITIVES and kind in PRIMITIVES) or (made in quantities and kind in quantities)


def code_tables(folder):
    for file in sorted(folder.glob("codesystems/*.csv")):
        name = table_name(file, "Concept Map")
        lines = ["# From the HL7 v2-to-FHIR guide; written by generate.py. Changes go into ours/.", ""]
        entries, sources, systems = [], {}, {}
        for cells in rows_of(file):
            code, text, source = cells[0], cells[1], cells[2]
            # The columns shift by one in some files.
            target, display, system = cells[6], cells[8] or cells[7], cells[9]
            if not system.startswith(("http", "urn")):
                system = next((c for c in cells[7:11] if c.startswith(("http", "urn"))), "")
                display = "" if display == system else display
            if not code:
                NO_SOURCE[name] = NO_SOURCE.get(name, 0) + 1
                continue
            sources[source] = sources.get(source, 0) + 1
            if target and not re.search(r"\s|JIRA", target):
                systems[system] = systems.get(system, 0) + 1
            else:
                if target:
                    drop(name, code, target, "no code: a remark, or a code that the guide waits for")
                target = ""
            entries.append((code, target, display if target else "", system, text))
        source = max(sources, key=sources.get, default="")
        system = max(systems, key=systems.get, default="")
        lines.append(f"source = {toml(re.sub('^HL7-', 'HL7', source))}")
        lines.append(f"system = {toml(system)}")
        lines.append("codes = [")
        for code, target, display, own, text in entries:
            cell = f"from = {toml(code)}"
            if target:
                cell += f", to = {toml(target)}"
                cell += f", display = {toml(display)}" if display else ""
                cell += f", system = {toml(own)}" if own and own != system else ""
            lines.append(f"  {{ {cell} }},")
        lines += ["]", ""]
        (HERE / "codes").mkdir(exist_ok=True)
        (HERE / "codes" / f"{name}.toml").write_text("\n".join(lines))


def link_of(text, to):
    """`Encounter[1].subject.reference=Patient[1].id` as `Encounter[1].subject = Patient[1]`."""
    m = re.match(r"^\s*([A-Za-z]+)(\[[^\]]*\])?\.([\w.\[\]()]+?)(\.reference|\.id)?\s*=\s*([A-Z]\w+)(\[[^\]]*\])?(\.id)?\s*$", text)
    if not m:
        return None
    left, label, path, right, rlabel = m.group(1), m.group(2), m.group(3), m.group(5), m.group(6)
    own = re.match(r"^(\w+)(\[\w+\])?$", to)

    def label_of(resource, label):
        if label in ("[PID]", "[ORC]", "[SPM]", "[each]", "[1..n]", "[n]"):
            label = None
        if not label and own and own.group(1) == resource:
            label = own.group(2)
        return label or "[1]"

    left = left.replace("Immunzation", "Immunization")
    path = "diagnosis.condition" if path == "diagnosis" else path
    return f"{left}{label_of(left, label)}.{path} = {right}{label_of(right, rlabel)}"


def message_tables(folder, known):
    for file in sorted(folder.glob("messages/*.csv")):
        name = table_name(file, "Message")
        grammar, rows, group, last = [], [], [], None
        for cells in rows_of(file):
            identifier, syntax, title, antlr, narrative = cells[1], cells[2], cells[3], cells[6], cells[8]
            marks = re.sub(r"\s", "", syntax)
            if marks and re.fullmatch(r"[\[{<]+", marks):
                title = re.sub(r"^-+\s*|\s+begin.*$", "", title).replace(" ", "_") or "GROUP"
                grammar.append("  " * len(group) + f"{marks}{title}:")
                group.append(title)
                last = None
                continue
            if marks and re.fullmatch(r"[\]}>]+", marks):
                if group:
                    group.pop()
                    grammar.append("  " * len(group) + marks)
                last = None
                continue
            m = re.search(r"[A-Z][A-Z0-9]{2}", marks)
            if not m or identifier.startswith("/"):
                continue
            segment = m.group(0)
            if identifier != last or not grammar or segment not in grammar[-1]:
                grammar.append("  " * len(group) + marks.strip("|"))
            last = identifier
            target, table, references = cells[9], cells[10], cells[11]
            said_target, source = squeezed(target), ".".join(group + [segment])
            if not target:
                if source not in NO_TARGET.setdefault(name, []):
                    NO_TARGET[name].append(source)
                continue
            if not table:
                drop(name, source, said_target, "the guide names no segment map")
                continue
            if table.lower() not in known:
                drop(name, source, said_target, f"the guide has no map {table}")
                continue
            if re.match(r"Provenance\[\d\]\.entity", target) or table.startswith(("MSH[Provenance-Source", "MSH[Provenance-Tr")):
                drop(name, source, said_target, "the engine writes source and transformation Provenance itself")
                continue
            row = {"from": source}
            after = re.search(r":follow:(\w+)\.", identifier)
            if after:
                row["after"] = after.group(1)
            if table == "PID[Account]":
                antlr = antlr or "IF PID-18 VALUED"  # An account without a number is none.
            links = []
            m = re.match(r"^(\w+\[\w+\])\.(\w+)\((\w+)\)$", target)
            if m:
                links.append(f"{m.group(1)}.{m.group(2)} = {m.group(3)}[9]")
                target = f"{m.group(3)}[9]"
            target = re.sub(r"\[(n|each|1\.\.n)\]", "[90]", target)
            target = re.sub(r"^(Observation\[\d\])\.note$", r"\1", target)
            if not re.fullmatch(r"\w+(\[\d+\])?", target):
                drop(name, source, said_target, "no resource to make")
                continue
            row["to"] = target if "[" in target else target + "[1]"
            row["as"] = known[table.lower()]
            made, resource = base_type(row["as"]), row["to"].split("[")[0]
            if made != resource:
                other = f"{segment}[{resource}]".lower()
                if other in known:
                    row["as"] = known[other]
                elif made in ("CareTeam",):
                    row["to"] = f"{made}[1]"
                else:
                    drop(name, source, said_target, f"{table} makes a {made}")
                    continue
            if antlr:
                try:
                    row["when"] = Condition(antlr, segment).translate()
                except (ValueError, IndexError):
                    drop(name, source, said_target, f"its condition cannot be said: {antlr[:80]}")
                    continue
            for reference in re.split(r"[;\n]", references):
                if not reference.strip() or "Bundle" in reference:
                    continue
                link = link_of(reference.replace(".reference)", ")"), row["to"])
                if not link:
                    drop(name, source, reference.strip(), "a reference that cannot be said")
                elif path_type(link.split("[")[0], re.match(r"^\w+\[\w+\]\.(.*) =", link).group(1))[1]:
                    drop(name, source, reference.strip(), "R4 has no such element")
                else:
                    links.append(link)
            row["link"] = links
            if said_target != row["to"]:
                row["guide"] = said_target
            if narrative:
                row["note"] = narrative
            rows.append(row)
        lines = [f"# {name}, from the HL7 v2-to-FHIR guide; written by generate.py. Changes go into ours/.", ""]
        lines += ['grammar = """', *grammar, '"""', ""]
        for row in rows:
            links = row.pop("link")
            lines.append("[[row]]")
            lines += [f"{key} = {toml(value)}" for key, value in row.items() if value]
            if links:
                lines.append("link = [" + ", ".join(toml(link) for link in links) + "]")
            lines.append("")
        (HERE / "messages").mkdir(exist_ok=True)
        (HERE / "messages" / f"{name}.toml").write_text("\n".join(lines))


def main(folder):
    load_elements()
    known = {}
    for kind, sub in (("Data Type", "datatypes"), ("Segment", "segments")):
        for file in sorted(folder.glob(f"{sub}/*.csv")):
            name = table_name(file, kind)
            known[name.lower()] = name
    for sub in ("segments", "datatypes", "codes", "messages"):
        shutil.rmtree(HERE / sub, ignore_errors=True)
    for kind, sub in (("Data Type", "datatypes"), ("Segment", "segments")):
        for file in sorted(folder.glob(f"{sub}/*.csv")):
            name, rows = field_rows(file, kind, known)
            write(sub, name, rows, f"{name}, from the HL7 v2-to-FHIR guide; written by generate.py. Changes go into ours/.")
    code_tables(folder)
    message_tables(folder, known)
    not_mapped()


def ours():
    """Our own tables, by their lower-case name: the file and what it says of itself at its head."""
    tables = {}
    for file in sorted((HERE / "ours").glob("[sdm]*/*.toml")):
        text = file.read_text()
        head = " ".join(line.lstrip("# ") for line in text.split("\n\n")[0].splitlines() if line.startswith("#"))
        tables[file.stem.lower()] = (file.stem, tomllib.loads(text), head.strip())
    return tables


def not_mapped():
    """Writes NOT-MAPPED.md, which `tributary maps check` reads again."""
    own = ours()
    cell = lambda text: text.replace("|", "\\|").replace("\n", " ")
    table_rows = lambda rows: ["| " + " | ".join(cell(c) for c in row) + " |" for row in rows]
    lines = ["# Rows of the guide that our tables do not carry as they stand", "",
             "Written by `generate.py`. `tributary maps check --against DIR` compares it, and the tables, with the guide.", "",
             "## Rows that cannot be said", "",
             "Many of them are said in another way in `ours/`: the reason says so where a row there has the same source.", "",
             "| table | from | guide's target | reason |", "|---|---|---|---|"]
    for table, source, target, reason in DROPPED:
        rows = own.get(table.lower(), (None, {}, ""))[1].get("row", [])
        if source and any(row.get("from") == source and not row.get("remove") for row in rows):
            reason += "; `ours/` has a row of its own"
        lines += table_rows([(table, source, target, reason)])
    lines += ["", "## Rows that `ours/` takes away", "",
              "They stand in the guide's tables here and are not in force.", "",
              "| table | from | our target | reason |", "|---|---|---|---|"]
    for name, table, head in own.values():
        for row in table.get("row", []):
            if row.get("remove"):
                lines += table_rows([(name, row.get("from", ""), row.get("to", "all"), row.get("note") or head)])
    lines += ["", "## Sources to which the guide gives no target", "",
              "Rows of the guide with a field or a component, or a segment of a message, and nothing that it becomes.",
              "A value there is on the coverage report, unless `ours/` or a site has a row for it.", "",
              "| table | sources |", "|---|---|"]
    lines += table_rows([(table, ", ".join(sources)) for table, sources in sorted(NO_TARGET.items()) if sources])
    lines += ["", "## Target codes without a source code", "",
              "Rows of the guide's code maps that name a code of FHIR and no code of HL7 v2: nothing can become it.", "",
              "| table | rows |", "|---|---|"]
    lines += table_rows([(table, str(count)) for table, count in sorted(NO_SOURCE.items())])
    (HERE / "NOT-MAPPED.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
