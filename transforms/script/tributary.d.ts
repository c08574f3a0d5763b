// What a Tributary script can use. Editors read it: put it beside the script and begin the script with
//
//     /// <reference path="tributary.d.ts" />
//
// A script is JavaScript in strict mode with one function:
//
//     function transform(message, bundle, context) { … }
//
// It changes the Bundle, or returns another. It has no files, no network, no timers, no chance and no clock but
// the message's; each message finds it as if it were the first.

/** A number with all its digits: `0.010` stays `0.010`. Every FHIR decimal is one, such as `valueQuantity.value`. */
declare class Decimal {
  private constructor();
  /** Its digits, as they were written. `${value}` is the same. */
  toString(): string;
  /** Its value as a JavaScript number: arithmetic and `<`, `>` use it. Compare by `Number(value) === 5`. */
  valueOf(): number;
  /** Its value with so many places. */
  toFixed(places?: number): string;
}

/** A segment of the message. Paths begin at its fields: `3`, `3[2].1`, `5.1.2`. */
interface Hl7Segment {
  /** Its name, such as `OBX`. */
  readonly name: string;
  /** Its place in the message, counted from 1. */
  readonly number: number;
  /** The first value at a path, escape sequences undone; `""` where nothing stands, `null` for HL7's `""` (delete). */
  get(path: string): string | null;
  /** All values at a path: those of every repetition, if the path names none. */
  all(path: string): string[];
  /** True if a value stands there. */
  has(path: string): boolean;
}

/** The HL7 v2 message as it came. It cannot be changed. */
interface Hl7Message {
  /** The first value at a path such as `PID-3[1].4` or `OBX[2]-5`; `""` where nothing stands, `null` for `""` (delete). */
  get(path: string): string | null;
  /** All values at a path: those of every segment and repetition that the path does not number. */
  all(path: string): string[];
  /** True if a value stands there. */
  has(path: string): boolean;
  /** The segments of this name, in order. */
  segments(name: string): Hl7Segment[];
}

/** Any FHIR resource or element, as in FHIR's JSON. */
type Fhir = { [element: string]: any };

interface FhirResource extends Fhir {
  resourceType: string;
}

interface FhirBundle extends FhirResource {
  resourceType: "Bundle";
  entry?: { fullUrl?: string; resource?: FhirResource; request?: { method: string; url: string } }[];
}

/** What is known besides the message. */
interface ScriptContext {
  /** The inbound channel. */
  readonly channel: string;
  /** The provider that sends: its key in `providers.toml`. */
  readonly provider: string;
  /** The site's own URI. */
  readonly baseUri: string;
  /** When the message is transformed: `2026-01-31T08:00:00Z`. `new Date()` is the same time. */
  readonly now: string;
  /** The zone of times that carry no offset, such as `America/Chicago`. */
  readonly timeZone: string;
}

/** A number with these digits: `decimal("72.50")`. */
declare function decimal(digits: string | number | Decimal): Decimal;

/** The row of `code` in `codes/SET.csv`, by the names of its head; `undefined` if there is none. */
declare function lookup(set: string, code: string): Readonly<Record<string, string>> | undefined;

/** The resources of a Bundle, of one type if it is named. */
declare function resources(bundle: FhirBundle | null, type?: string): FhirResource[];

/** A UUID that is always the same for the same text, provider and site: for ids of what you add. */
declare function uuid(name: string): string;

/** Keeps a remark with the message. Only words that are written in the script are kept; what comes from the message is left out. */
declare function log(text: string): void;

/** As `log`, about a place: `note("PID-8", "no gender")`. */
declare function note(place: string, text: string): void;

/** Parks the message as failed, with a place and a reason for an analyst. */
declare function fail(place: string, text: string): never;

/** What the script must define. `message` is null if no HL7 v2 came, `bundle` if there is none yet. */
declare function transform(message: Hl7Message | null, bundle: FhirBundle | null, context: ScriptContext): FhirBundle | void;
