/**
 * How a message of Kafka's protocol is defined: once, as a list of fields with the versions that have them
 * (https://kafka.apache.org/protocol); encoders and decoders of every version follow from it. From a message's flexible
 * version on, lengths are varints and each structure ends with tagged fields (KIP-482).
 */
import { MalformedMessage, type Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Decodes or encodes one field in one version. */
interface Codec {
	readonly decode: (reader: Reader) => unknown;
	readonly encode: (writer: Writer, value: never) => void;
	/** A value takes at least this many bytes: what a length may claim is checked against it. */
	readonly smallestBytes: number;
}

type Compile = (version: number, flexible: boolean) => Codec;

interface FieldOptions {
	readonly from: number;
	readonly to: number;
	/** Versions in which it may be null; none: Infinity. */
	readonly nullableFrom: number;
	readonly tag: number | undefined;
	/** What stands for it in versions that do not have it, and when the sender leaves it out. */
	readonly fallback: unknown;
}

/** `Out` is what decoding gives, `In` what encoding takes. */
export class Field<Out, In = Out> {
	declare readonly out: Out;
	declare readonly in_: In;
	readonly options: FieldOptions;
	/** `nullable` as the version at hand has it. */
	readonly compile: (nullable: boolean) => Compile;

	constructor(compile: (nullable: boolean) => Compile, options: FieldOptions) {
		this.compile = compile;
		this.options = options;
	}

	/** Only versions `from` to `to` have it. */
	in(from: number, to = Number.POSITIVE_INFINITY): Field<Out, In> {
		return this.#with({ from, to });
	}

	/** May be null, from version `from` on. */
	nullable(from = 0): Field<Out | null, In | null> {
		return this.#with({ nullableFrom: from }) as Field<Out | null, In | null>;
	}

	/** What it is where it is left out. */
	or<D extends In | null>(fallback: D): Field<Out, In> {
		return this.#with({ fallback });
	}

	/** Not in line but among the structure's tagged fields, and only when it is not its default. */
	tagged(tag: number): Field<Out, In> {
		return this.#with({ tag });
	}

	#with(options: Partial<FieldOptions>): Field<Out, In> {
		return new Field(this.compile, { ...this.options, ...options });
	}
}

// biome-ignore lint/suspicious/noExplicitAny: any field at all.
type AnyField = Field<any, any>;
export type Fields = Readonly<Record<string, AnyField>>;
/** What decoding gives: every field, of every version. */
export type Decoded<F extends Fields> = { -readonly [K in keyof F]: F[K]["out"] };
/** What encoding takes: what is left out is its default. */
export type Encodable<F extends Fields> = { readonly [K in keyof F]?: F[K]["in_"] };

function field<T>(fallback: T, compile: (nullable: boolean) => Compile): Field<T> {
	return new Field(compile, {
		from: 0,
		to: Number.POSITIVE_INFINITY,
		nullableFrom: Number.POSITIVE_INFINITY,
		tag: undefined,
		fallback,
	});
}

function fixed<T>(fallback: T, smallestBytes: number, decode: (r: Reader) => T, encode: (w: Writer, v: T) => void) {
	const codec = { decode, encode, smallestBytes } as Codec;
	return field<T>(fallback, () => () => codec);
}

export const bool = fixed<boolean>(
	false,
	1,
	(r) => r.int8() !== 0,
	(w, v) => w.int8(v ? 1 : 0),
);
export const int8 = fixed<number>(
	0,
	1,
	(r) => r.int8(),
	(w, v) => w.int8(v),
);
export const int16 = fixed<number>(
	0,
	2,
	(r) => r.int16(),
	(w, v) => w.int16(v),
);
export const uint16 = fixed<number>(
	0,
	2,
	(r) => r.uint16(),
	(w, v) => w.uint16(v),
);
export const int32 = fixed<number>(
	0,
	4,
	(r) => r.int32(),
	(w, v) => w.int32(v),
);
export const uint32 = fixed<number>(
	0,
	4,
	(r) => r.uint32(),
	(w, v) => w.uint32(v),
);
/** A number: beyond 53 bits it is rounded, so that a range check still tells. */
export const int64 = fixed<number>(
	0,
	8,
	(r) => r.int64(),
	(w, v) => w.int64(v),
);
export const float64 = fixed<number>(
	0,
	8,
	(r) => r.float64(),
	(w, v) => w.float64(v),
);
export const ZERO_UUID = "00000000-0000-0000-0000-000000000000";
/** With hyphens, in lower case. */
export const uuid = fixed<string>(
	ZERO_UUID,
	16,
	(r) => r.uuid(),
	(w, v) => w.uuid(v),
);

/** A length: -1 is null, where there may be null. */
function checked(r: Reader, length: number, nullable: boolean): number {
	if (length < (nullable ? -1 : 0))
		throw new MalformedMessage(r.position, length === -1 ? "null where there is no null" : `length ${length}`);
	return length;
}

export const string = field<string>("", (nullable) => (_version, flexible) => ({
	decode: (r) => {
		const length = checked(r, flexible ? r.compactLength() : r.int16(), nullable);
		return length < 0 ? null : r.text(length);
	},
	encode: (w, value: string | null) => {
		if (value === null) w.nullLength(flexible, 2, nullable);
		else w.text(value, flexible);
	},
	smallestBytes: flexible ? 1 : 2,
}));

/** A view of what was received: who keeps it copies it. */
export const bytes = field<Buffer>(Buffer.alloc(0), (nullable) => (_version, flexible) => ({
	decode: (r) => {
		const length = checked(r, flexible ? r.compactLength() : r.int32(), nullable);
		return length < 0 ? null : r.bytes(length);
	},
	encode: (w, value: Uint8Array | null) => {
		if (value === null) w.nullLength(flexible, 4, nullable);
		else w.bytes(value, flexible);
	},
	smallestBytes: flexible ? 1 : 4,
})) as unknown as Field<Buffer, Uint8Array>;

/** Record batches one behind the other: as `bytes`; to be sent they may be in parts, which are not copied. */
export const records = field<Buffer | null>(null, () => (_version, flexible) => ({
	decode: (r) => {
		const length = checked(r, flexible ? r.compactLength() : r.int32(), true);
		return length < 0 ? null : r.bytes(length);
	},
	encode: (w, value: Uint8Array | readonly Uint8Array[] | null) => {
		if (value === null) w.nullLength(flexible, 4, true);
		else w.parts(value instanceof Uint8Array ? [value] : value, flexible);
	},
	smallestBytes: flexible ? 1 : 4,
})) as unknown as Field<Buffer | null, Uint8Array | readonly Uint8Array[] | null>;

export function array<Out, In>(element: Field<Out, In>): Field<Out[], readonly In[]> {
	const made = field<unknown[]>([], (nullable) => (version, flexible) => {
		const { nullableFrom } = element.options;
		const codec = element.compile(version >= nullableFrom)(version, flexible);
		return {
			decode: (r) => {
				const length = checked(r, flexible ? r.compactLength() : r.int32(), nullable);
				if (length < 0) return null;
				r.expectElements(length, codec.smallestBytes);
				const list: unknown[] = [];
				for (let i = 0; i < length; i++) list.push(codec.decode(r));
				return list;
			},
			encode: (w, value: readonly never[] | null) => {
				if (value === null) {
					w.nullLength(flexible, 4, nullable);
					return;
				}
				w.arrayLength(value.length, flexible);
				for (const each of value) codec.encode(w, each);
			},
			smallestBytes: flexible ? 1 : 4,
		};
	});
	return made as unknown as Field<Out[], readonly In[]>;
}

export function struct<F extends Fields>(fields: F): Field<Decoded<F>, Encodable<F>> {
	const made = field<unknown>(undefined, (nullable) => (version, flexible) => {
		const codec = compileStruct(fields, version, flexible);
		if (!nullable) return codec;
		// KIP-893: a byte before the structure says whether there is one.
		return {
			decode: (r) => (r.int8() < 0 ? null : codec.decode(r)),
			encode: (w, value: never) => {
				w.int8(value === null ? -1 : 1);
				if (value !== null) codec.encode(w, value);
			},
			smallestBytes: 1,
		};
	});
	return made.or(EMPTY_STRUCT) as unknown as Field<Decoded<F>, Encodable<F>>;
}

/** The default of a structure: all its fields' defaults. */
const EMPTY_STRUCT = Object.freeze({});

interface CompiledField {
	readonly name: string;
	readonly codec: Codec;
	readonly fallback: unknown;
}

function compileStruct(fields: Fields, version: number, flexible: boolean): Codec {
	const inline: CompiledField[] = [];
	const tagged = new Map<number, CompiledField>();
	/** In the order of the definition, so that all objects of it have one shape. */
	const absent: { readonly name: string; readonly make: () => unknown }[] = [];
	for (const [name, { options, compile }] of Object.entries(fields)) {
		const { from, to, tag, nullableFrom, fallback } = options;
		absent.push({ name, make: absentValue(fields[name] as AnyField, fallback) });
		if (version < from || version > to) continue;
		const compiled = { name, codec: compile(version >= nullableFrom)(version, flexible), fallback };
		if (tag === undefined) inline.push(compiled);
		else if (flexible) tagged.set(tag, compiled);
	}
	const present = new Set([...inline.map(({ name }) => name)]);
	const missing = absent.filter(({ name }) => !present.has(name));
	const tags = [...tagged].sort(([a], [b]) => a - b);
	let smallestBytes = flexible ? 1 : 0;
	for (const { codec } of inline) smallestBytes += codec.smallestBytes;
	return {
		decode: (r) => {
			const value: Record<string, unknown> = {};
			for (const { name, codec } of inline) value[name] = codec.decode(r);
			for (const { name, make } of missing) value[name] = make();
			if (flexible) decodeTags(r, tagged, value);
			return value;
		},
		encode: (w, value: Readonly<Record<string, unknown>>) => {
			for (const { name, codec, fallback } of inline) {
				const given = value[name];
				codec.encode(w, (given === undefined ? fallback : given) as never);
			}
			if (flexible) encodeTags(w, tags, value);
		},
		smallestBytes,
	};
}

function absentValue(field: AnyField, fallback: unknown): () => unknown {
	if (Array.isArray(fallback)) return () => [];
	if (fallback !== EMPTY_STRUCT) return () => fallback;
	// A structure that is left out has all its defaults.
	return () => defaultsOf(field);
}

const DEFAULTS = new WeakMap<AnyField, unknown>();

function defaultsOf(field: AnyField): unknown {
	let defaults = DEFAULTS.get(field);
	if (defaults === undefined) {
		// No version has any field: what is decoded from nothing is the defaults.
		defaults = field
			.compile(false)(-1, false)
			.decode(undefined as never);
		DEFAULTS.set(field, defaults);
	}
	return { ...(defaults as object) };
}

function decodeTags(r: Reader, known: ReadonlyMap<number, CompiledField>, value: Record<string, unknown>): void {
	const count = r.unsignedVarint();
	r.expectElements(count, 2);
	let last = -1;
	for (let i = 0; i < count; i++) {
		const tag = r.unsignedVarint();
		if (tag <= last) throw new MalformedMessage(r.position, `tag ${tag} after tag ${last}`);
		last = tag;
		const size = r.unsignedVarint();
		const compiled = known.get(tag);
		if (compiled === undefined) {
			r.skip(size);
			continue;
		}
		const end = r.position + size;
		value[compiled.name] = compiled.codec.decode(r);
		if (r.position !== end)
			throw new MalformedMessage(r.position, `tagged field ${compiled.name} is not ${size} bytes`);
	}
}

function encodeTags(
	w: Writer,
	tags: readonly (readonly [number, CompiledField])[],
	value: Readonly<Record<string, unknown>>,
): void {
	const given = tags.filter(([, { name, fallback }]) => {
		const each = value[name];
		return each !== undefined && !isDefault(each, fallback);
	});
	w.unsignedVarint(given.length);
	for (const [tag, { name, codec }] of given) {
		w.unsignedVarint(tag);
		w.sized((inner) => codec.encode(inner, value[name] as never));
	}
}

function isDefault(value: unknown, fallback: unknown): boolean {
	if (Array.isArray(fallback)) return Array.isArray(value) && value.length === 0;
	return value === fallback;
}

export interface Message<F extends Fields> {
	readonly apiKey: number;
	readonly name: string;
	readonly minVersion: number;
	readonly maxVersion: number;
	/** From this version on; Infinity: none. */
	readonly flexibleFrom: number;
	readonly fields: F;
	/** Throws MalformedMessage. */
	decode(reader: Reader, version: number): Decoded<F>;
	encode(writer: Writer, version: number, value: Encodable<F>): void;
}

/** Of what decoding a message gives. */
// biome-ignore lint/suspicious/noExplicitAny: any message at all.
export type DecodedOf<M extends Message<any>> = M extends Message<infer F> ? Decoded<F> : never;
/** Of what encoding a message takes. */
// biome-ignore lint/suspicious/noExplicitAny: any message at all.
export type EncodableOf<M extends Message<any>> = M extends Message<infer F> ? Encodable<F> : never;

export interface MessageOptions {
	/** Lowest and highest. */
	readonly versions: readonly [number, number];
	/** First flexible version; left out: none is. */
	readonly flexible?: number;
}

/** `name` is the API's, followed by Request or Response. */
export function message<F extends Fields>(
	apiKey: number,
	name: string,
	{ versions: [minVersion, maxVersion], flexible: flexibleFrom = Number.POSITIVE_INFINITY }: MessageOptions,
	fields: F,
): Message<F> {
	const compiled: Codec[] = [];
	const codec = (version: number): Codec => {
		if (!(version >= minVersion && version <= maxVersion)) throw new RangeError(`${name} has no version ${version}`);
		// Made when first used: nobody uses all versions.
		compiled[version] ??= compileStruct(fields, version, version >= flexibleFrom);
		return compiled[version] as Codec;
	};
	return {
		apiKey,
		name,
		minVersion,
		maxVersion,
		flexibleFrom,
		fields,
		decode: (reader, version) => codec(version).decode(reader) as Decoded<F>,
		encode: (writer, version, value) => codec(version).encode(writer, value as never),
	};
}
