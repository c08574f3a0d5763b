// What a script finds when it runs: message, decimal(), lookup(), log() and their like, built on the few
// functions of `native`. It is evaluated anew for every message, so nothing of one message reaches another.
(function (native) {
  "use strict";
  const { parse, stringify, rawJSON } = JSON;
  const { freeze, defineProperty } = Object;
  const isArray = Array.isArray;
  const call = Function.prototype.call;
  const match = call.bind(RegExp.prototype.test);
  const RealDate = Date;
  const text = String;
  const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$/;

  class Decimal {
    #digits;
    constructor(digits) {
      digits = text(digits);
      if (!match(NUMBER, digits)) throw new TypeError("decimal() needs a number in digits, such as '0.010'");
      this.#digits = digits;
      freeze(this);
    }
    toString() { return this.#digits; }
    valueOf() { return Number(this.#digits); }
    toFixed(places) { return Number(this.#digits).toFixed(places); }
    toJSON() { return rawJSON(this.#digits); }
    [Symbol.toPrimitive](hint) { return hint === "string" ? this.#digits : Number(this.#digits); }
  }

  // The place of a script's own call, for what it says.
  const here = () => new Error().stack;

  const path = (value) => {
    if (typeof value !== "string") throw new TypeError("a path is text, such as 'PID-3[1].4'");
    return value;
  };

  const reader = (segment) => ({
    get: (at) => { const value = native.get(path(at), segment); return value === undefined ? null : value; },
    all: (at) => parse(native.all(path(at), segment)),
    has: (at) => Boolean(native.get(path(at), segment)),
  });

  const message = () => {
    const whole = reader(-1);
    whole.segments = (name) => parse(native.segments(text(name))).map(([number, found]) => {
      const segment = reader(number);
      segment.name = found;
      segment.number = number + 1;
      return freeze(segment);
    });
    return freeze(whole);
  };

  // Searches whose cost is the product of two lengths are bounded: nothing interrupts them.
  const MOST_COMPARED = 2 ** 31;
  for (const name of ["indexOf", "lastIndexOf", "includes", "split", "replace", "replaceAll"]) {
    const original = String.prototype[name];
    const bounded = {
      [name](what, ...rest) {
        if (typeof what !== "object" && text(this).length * text(what).length > MOST_COMPARED) {
          throw new RangeError("the texts are too long to search");
        }
        return call.call(original, this, what, ...rest);
      },
    };
    defineProperty(String.prototype, name, { value: bounded[name] });
  }

  const define = (name, value) => defineProperty(globalThis, name, { value });

  define("decimal", (digits) => new Decimal(digits));
  define("Decimal", Decimal);
  define("log", (said) => native.note("", text(said), here()));
  define("note", (place, said) => native.note(text(place), text(said), here()));
  define("fail", (place, said) => { native.fail(text(place)); throw new Error(text(said)); });
  define("uuid", (name) => native.uuid(text(name)));
  define("lookup", (set, code) => {
    const found = native.lookup(text(set), text(code));
    return found === undefined ? undefined : freeze(parse(found));
  });
  define("resources", (bundle, type) => {
    const entries = bundle && isArray(bundle.entry) ? bundle.entry : [];
    const all = entries.map((entry) => entry && entry.resource).filter((resource) => resource);
    return type === undefined ? all : all.filter((resource) => resource.resourceType === type);
  });

  // The same message gives the same result: no clock, no chance.
  const now = RealDate.parse(native.now);
  class FixedDate extends RealDate {
    constructor(...parts) { if (parts.length === 0) super(now); else super(...parts); }
    static now() { return now; }
  }
  defineProperty(globalThis, "Date", { value: FixedDate });
  defineProperty(Math, "random", {
    value: () => { throw new TypeError("Math.random() is not there: the same message must give the same result"); },
  });
  for (const name of ["performance", "Atomics", "SharedArrayBuffer", "queueMicrotask", "WeakRef",
    "FinalizationRegistry", "navigator", "gc"]) {
    delete globalThis[name];
  }
  for (const builtin of [Object, Array, String, Number, Boolean, Function, RegExp, RealDate, Error, Map, Set, Promise, Symbol]) {
    freeze(builtin.prototype);
    freeze(builtin);
  }
  [JSON, Math, Reflect, Decimal, Decimal.prototype, FixedDate, FixedDate.prototype].forEach(freeze);

  // Numbers that FHIR knows as decimals keep their digits.
  const withDecimals = (bundle, decimals) => {
    for (const [steps, digits] of decimals) {
      let at = bundle;
      for (let i = 0; i + 1 < steps.length; i++) at = at[steps[i]];
      at[steps[steps.length - 1]] = new Decimal(digits);
    }
    return bundle;
  };

  return (transform, bundle, decimals, isHl7) => {
    const given = bundle == null ? null : withDecimals(parse(bundle), parse(decimals));
    const made = transform(isHl7 ? message() : null, given, freeze(parse(native.context)));
    const kept = made === undefined ? given : made;
    if (made instanceof Promise) throw new TypeError("transform() must not be async");
    if (kept === null && made === undefined) return null;
    if (typeof kept !== "object" || kept === null || isArray(kept)) {
      throw new TypeError("transform() must return a Bundle, or nothing to keep the one that it was given");
    }
    const said = stringify(kept);
    if (typeof said !== "string") throw new TypeError("what transform() leaves is no JSON");
    return said;
  };
})
