/** Which records of a central topic a rule takes: by key, by a header. Decided on the record's bytes where they lie. */
import type { DownlinkRule } from "../../../src/config/definition.ts";
import type { RecordView } from "../../../src/record/record-view.ts";

const NAME = "{gateway}";

export class RecordFilter {
	readonly #key: Pattern | undefined;
	readonly #header: { readonly name: Buffer; readonly value: Pattern } | undefined;

	constructor({ key, header }: Pick<DownlinkRule, "key" | "header">, gatewayId: string) {
		this.#key = key === undefined ? undefined : new Pattern(key, gatewayId);
		this.#header =
			header === undefined
				? undefined
				: { name: Buffer.from(header.name), value: new Pattern(header.value, gatewayId) };
	}

	/** A record without a key, or without the header, has nothing that could fit. Of several such headers any may. */
	takes(view: RecordView): boolean {
		if (this.#key !== undefined && !this.#key.fits(view.source, view.keyStart, view.keyEnd)) return false;
		return this.#header === undefined || this.#hasHeader(view, this.#header.name, this.#header.value);
	}

	#hasHeader(view: RecordView, name: Buffer, value: Pattern): boolean {
		for (let i = 0; i < view.headerCount; i++) {
			view.header(i);
			const { source, headerKeyStart, headerKeyEnd } = view;
			if (!isAt(source, headerKeyStart, headerKeyEnd, name)) continue;
			if (value.fits(source, view.headerValueStart, view.headerValueEnd)) return true;
		}
		return false;
	}
}

/** Text in which `*` stands for any bytes, none too. */
class Pattern {
	/** What lies between the stars: one without any star. */
	readonly #parts: readonly Buffer[];

	constructor(text: string, gatewayId: string) {
		// Divided first: a star in the gateway's own name is only a star.
		this.#parts = text.split("*").map((part) => Buffer.from(part.replaceAll(NAME, gatewayId)));
	}

	/** `start` negative: there is nothing, which does not fit. */
	fits(source: Buffer, start: number, end: number): boolean {
		if (start < 0) return false;
		const parts = this.#parts;
		const first = parts[0] as Buffer;
		if (parts.length === 1) return isAt(source, start, end, first);
		const last = parts.at(-1) as Buffer;
		if (end - start < first.length + last.length) return false;
		if (!isAt(source, start, start + first.length, first) || !isAt(source, end - last.length, end, last)) return false;
		// Each as early as it can stand leaves most for those behind it.
		const middle = source.subarray(start + first.length, end - last.length);
		let at = 0;
		for (const part of parts.slice(1, -1)) {
			const found = middle.indexOf(part, at);
			if (found < 0) return false;
			at = found + part.length;
		}
		return true;
	}
}

function isAt(source: Buffer, start: number, end: number, expected: Buffer): boolean {
	if (end - start !== expected.length) return false;
	for (let i = expected.length - 1; i >= 0; i--) if (source[start + i] !== expected[i]) return false;
	return true;
}
