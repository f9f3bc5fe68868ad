/**
 * JSON from outside: parsed with a bound on what it may come to in memory, and its members taken out one by one, each checked.
 * Members that nobody asks for are passed over.
 */

/** Makes the error that tells what is wrong. */
type Fail = (what: string) => Error;

/** Lists, objects and members, all together: what parsing allocates grows with their number, however few bytes they take. */
const VALUES_MAX = 4 * 1024 * 1024;
const [COMMA, COLON, BRACKET, BRACE] = [0x2c, 0x3a, 0x5b, 0x7b];

/** Throws what `fail` makes. */
export function parseBoundedJson(bytes: Buffer, fail: Fail): unknown {
	let values = 1;
	for (let i = 0; i < bytes.length; i++) {
		const byte = bytes[i];
		// In texts they are counted too: that only makes it the stricter.
		if (byte === COMMA || byte === COLON || byte === BRACKET || byte === BRACE) values += 1;
	}
	if (values > VALUES_MAX) throw fail(`it has more than ${VALUES_MAX} values`);
	try {
		return JSON.parse(bytes.toString("utf8"));
	} catch (error) {
		throw fail(`it is no JSON: ${(error as Error).message.slice(0, 100)}`);
	}
}

export class JsonFields {
	readonly #members: Readonly<Record<string, unknown>>;
	readonly #path: string;
	readonly #fail: Fail;

	/** `path`: of `value` in the whole, for messages; empty for the whole itself. Throws what `fail` makes. */
	constructor(value: unknown, path: string, fail: Fail) {
		if (typeof value !== "object" || value === null || Array.isArray(value))
			throw fail(`${path === "" ? "it" : path} is no object`);
		this.#members = value as Record<string, unknown>;
		this.#path = path;
		this.#fail = fail;
	}

	/** The error about a member. */
	wrong(name: string, what: string): Error {
		return this.#fail(`${this.#pathOf(name)}: ${what}`);
	}

	has(name: string): boolean {
		return this.#get(name) !== undefined;
	}

	integer(name: string, least = 0, most: number = Number.MAX_SAFE_INTEGER): number {
		const value = this.#get(name);
		if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most) {
			const right = least === most ? String(least) : `a whole number from ${least} to ${most}`;
			throw this.wrong(name, `${shown(value)} where ${right} was due`);
		}
		return value;
	}

	text(name: string, pattern = /^/): string {
		const value = this.#get(name);
		if (typeof value !== "string") throw this.wrong(name, `${shown(value)} is no text`);
		if (!pattern.test(value)) throw this.wrong(name, `${shown(value)} is not of the form ${pattern.source}`);
		return value;
	}

	object(name: string): JsonFields {
		return new JsonFields(this.#get(name), this.#pathOf(name), this.#fail);
	}

	objects(name: string): JsonFields[] {
		const value = this.#get(name);
		if (!Array.isArray(value)) throw this.wrong(name, `${shown(value)} is no list`);
		return value.map((each, i) => new JsonFields(each, `${this.#pathOf(name)}[${i}]`, this.#fail));
	}

	/** An object whose members are all texts. */
	texts(name: string): Readonly<Record<string, string>> {
		const fields = this.object(name);
		for (const member of Object.keys(fields.#members)) fields.text(member);
		return fields.#members as Record<string, string>;
	}

	#get(name: string): unknown {
		return Object.hasOwn(this.#members, name) ? this.#members[name] : undefined;
	}

	#pathOf(name: string): string {
		return this.#path === "" ? name : `${this.#path}.${name}`;
	}
}

function shown(value: unknown): string {
	if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
	return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
}
