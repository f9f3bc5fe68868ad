/**
 * How a message of Kafka's protocol is defined: once, as a list of fields with the versions that have them
 * (https://kafka.apache.org/protocol); encoders and decoders of every version follow from it. From a message's flexible
 * version on, lengths are varints and each structure ends with tagged fields (KIP-482).
 */
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Decodes or encodes one field in one version. */
interface Codec {
	readonly decode: (reader: Reader) => unknown;
	readonly encode: (writer: Writer, value: never) => void;
	/** A value takes at least this many bytes: what a length may claim is checked against it. */
	readonly smallestBytes: number;
	/** Memory of a decoded value, roughly, without what lies in arrays. */
	readonly decodedBytes: number;
	/** Whether a value says no more than `fallback` does; left out: whether it is the same. */
	readonly isDefault?: (value: never, fallback: unknown) => boolean;
}

/** What decoded values take, roughly. */
const POINTER_BYTES = 8;
const OBJECT_BYTES = 56;
const ARRAY_BYTES = 40;
const TEXT_BYTES = 40;
const VIEW_BYTES = 104;

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

type AnyField = Field<unknown, unknown>;
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
	// What a double takes, or a pointer and the text of a UUID.
	const decodedBytes = smallestBytes > 8 ? 64 : 2 * 8;
	const codec = { decode, encode, smallestBytes, decodedBytes } as Codec;
	return field<T>(fallback, () => () => codec);
}

export const bool = fixed<boolean>(
	false,
	1,
	(r) => r.bool(),
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

export const string = field<string>("", (nullable) => (_version, flexible) => ({
	decode: (r) => r.text(flexible, nullable),
	encode: (w, value: string | null) => {
		if (value === null) w.nullLength(flexible, 2, nullable);
		else w.text(value, flexible);
	},
	smallestBytes: flexible ? 1 : 2,
	decodedBytes: TEXT_BYTES,
}));

/** A view of what was received: who keeps it copies it. */
export const bytes = field<Buffer>(Buffer.alloc(0), (nullable) => (_version, flexible) => ({
	decode: (r) => r.bytes(flexible, nullable),
	encode: (w, value: Uint8Array | null) => {
		if (value === null) w.nullLength(flexible, 4, nullable);
		else w.bytes(value, flexible);
	},
	smallestBytes: flexible ? 1 : 4,
	decodedBytes: VIEW_BYTES,
})) as unknown as Field<Buffer, Uint8Array>;

/** Record batches one behind the other: as `bytes`; to be sent they may be in parts, which are not copied. */
export const records = field<Buffer | null>(null, () => (_version, flexible) => ({
	decode: (r) => r.bytes(flexible, true),
	encode: (w, value: Uint8Array | readonly Uint8Array[] | null) => {
		if (value === null) w.nullLength(flexible, 4, true);
		else w.parts(value instanceof Uint8Array ? [value] : value, flexible);
	},
	smallestBytes: flexible ? 1 : 4,
	decodedBytes: VIEW_BYTES,
})) as unknown as Field<Buffer | null, Uint8Array | readonly Uint8Array[] | null>;

export function array<Out, In>(element: Field<Out, In>): Field<Out[], readonly In[]> {
	const made = field<unknown[]>([], (nullable) => (version, flexible) => {
		const { nullableFrom } = element.options;
		const codec = element.compile(version >= nullableFrom)(version, flexible);
		return {
			decode: (r) => {
				const length = r.arrayLength(flexible, nullable, codec.smallestBytes, codec.decodedBytes);
				if (length < 0) return null;
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
			decodedBytes: ARRAY_BYTES,
			isDefault: (value: readonly never[] | null, fallback) =>
				value === fallback || (Array.isArray(fallback) && value?.length === 0),
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
			decodedBytes: codec.decodedBytes,
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

interface TaggedField extends CompiledField {
	readonly tag: number;
}

function compileStruct(fields: Fields, version: number, flexible: boolean): Codec {
	const inline: CompiledField[] = [];
	const tagged: TaggedField[] = [];
	/** Fields that this version has not, or only when the sender says so. */
	const absent: { readonly name: string; readonly make: () => unknown }[] = [];
	const all: CompiledField[] = [];
	for (const [name, field] of Object.entries(fields)) {
		const { from, to, tag, nullableFrom, fallback } = field.options;
		const compiled = { name, codec: field.compile(version >= nullableFrom)(version, flexible), fallback };
		all.push(compiled);
		const isThere = version >= from && version <= to;
		if (isThere && tag === undefined) inline.push(compiled);
		else absent.push({ name, make: absentValue(field, fallback) });
		if (isThere && tag !== undefined && flexible) tagged.push({ ...compiled, tag });
	}
	tagged.sort((a, b) => a.tag - b.tag);
	let smallestBytes = flexible ? 1 : 0;
	for (const { codec } of inline) smallestBytes += codec.smallestBytes;
	let decodedBytes = OBJECT_BYTES;
	for (const { codec } of inline) decodedBytes += codec.decodedBytes;
	decodedBytes += absent.length * POINTER_BYTES;
	return {
		decode: (r) => {
			const value: Record<string, unknown> = {};
			for (const { name, codec } of inline) value[name] = codec.decode(r);
			for (const { name, make } of absent) value[name] = make();
			if (flexible) {
				r.taggedFields(tagged, ({ name, codec }) => {
					value[name] = codec.decode(r);
				});
			}
			return value;
		},
		encode: (w, value: Readonly<Record<string, unknown>>) => {
			for (const { name, codec, fallback } of inline) {
				const given = value[name];
				codec.encode(w, (given === undefined ? fallback : given) as never);
			}
			if (flexible) encodeTags(w, tagged, value);
		},
		smallestBytes,
		decodedBytes,
		isDefault: (value: Readonly<Record<string, unknown>>) => all.every((field) => isDefault(field, value[field.name])),
	};
}

function absentValue(field: AnyField, fallback: unknown): () => unknown {
	if (Array.isArray(fallback)) return () => [];
	if (fallback !== EMPTY_STRUCT) return () => fallback;
	// No version -1 has any field: decoding makes all defaults of nothing.
	const nothing = field.compile(false)(-1, false);
	return () => nothing.decode(undefined as never);
}

function encodeTags(w: Writer, tagged: readonly TaggedField[], value: Readonly<Record<string, unknown>>): void {
	let count = 0;
	for (const field of tagged) if (!isDefault(field, value[field.name])) count++;
	w.unsignedVarint(count);
	if (count === 0) return;
	for (const field of tagged) {
		const given = value[field.name];
		if (isDefault(field, given)) continue;
		w.unsignedVarint(field.tag);
		w.sized((inner) => field.codec.encode(inner, given as never));
	}
}

function isDefault({ codec, fallback }: CompiledField, value: unknown): boolean {
	if (value === undefined || value === fallback) return true;
	return codec.isDefault?.(value as never, fallback) ?? false;
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
export type DecodedOf<M extends Message<Fields>> = M extends Message<infer F> ? Decoded<F> : never;
/** Of what encoding a message takes. */
export type EncodableOf<M extends Message<Fields>> = M extends Message<infer F> ? Encodable<F> : never;

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
