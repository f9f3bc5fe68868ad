/**
 * What people install: the packed file, unpacked into an empty folder with nothing beside it but the
 * packages it asks for, runs the gateway and serves a program that uses `headwater/client`.
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, run, startGateway, temporaryFolder } from "../../support/gateway.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const manifest: { version: string; dependencies: object; optionalDependencies: object } = JSON.parse(
	fs.readFileSync(path.join(root, "package.json"), "utf8"),
);

const PROGRAM = `
import { type ConsumedRecord, connect, HeadwaterError } from "headwater/client";

const client = await connect({ port: Number(process.argv[2]) });
await client.topics.create({ name: "greetings", partitions: 2 });
const results = await client.produce("greetings", [
	{ key: "a", value: "hello", headers: [["lang", "en"]] },
	{ key: "a", value: new Uint8Array([1, 2]) },
]);
const offsets: number[] = results.map((result) => result.offset);
const seen: string[] = [];
const show = (record: ConsumedRecord): string => \`\${record.offset} \${Buffer.from(record.value ?? []).toString("hex")}\`;
for await (const record of client.subscribe("greetings", { from: "earliest", until: "end" })) seen.push(show(record));
let code = "";
try {
	await client.produce("nowhere", { value: "x" });
} catch (error) {
	if (error instanceof HeadwaterError) code = error.code;
}
console.log(JSON.stringify({ offsets, seen, code }));
await client.close();
`;

describe("the packed package", () => {
	const folder = temporaryFolder("package");
	const installed = path.join(folder, "node_modules", "headwater");
	let packed: string[] = [];

	beforeAll(async () => {
		const { code, stdout, stderr } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root });
		if (code !== 0) throw new Error(`npm pack ended with ${code}: ${stderr}`);
		const tarball = fs.readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
		fs.mkdirSync(installed, { recursive: true });
		await run("tar", ["-xzf", path.join(folder, tarball), "-C", installed, "--strip-components=1"]);
		packed = fs
			.readdirSync(installed, { recursive: true, encoding: "utf8" })
			.filter((name) => fs.statSync(path.join(installed, name)).isFile());
		if (stdout.trim() === "") throw new Error("npm pack said nothing");
		for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
			const target = path.join(root, "node_modules", name);
			if (!fs.existsSync(target)) continue;
			const link = path.join(folder, "node_modules", name);
			fs.mkdirSync(path.dirname(link), { recursive: true });
			fs.symlinkSync(target, link);
		}
		fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
		fs.writeFileSync(path.join(folder, "program.ts"), PROGRAM);
	});
	afterAll(() => fs.rmSync(folder, { recursive: true }));

	it("holds the built program and its documents, and no sources", () => {
		const expected =
			/^(package\.json|README\.md|LICENSE|CHANGELOG\.md|ARCHITECTURE\.md|docs\/.*|dist\/(headwater|main|client\/index|chunks\/[^/]+)\.js|dist\/client\/.*\.d\.ts|dist\/THIRD-PARTY-LICENSES)$/;
		expect(packed.filter((name) => !expected.test(name))).toEqual([]);
		expect(packed).toEqual(
			expect.arrayContaining(["LICENSE", "README.md", "dist/headwater.js", "dist/client/index.d.ts"]),
		);
		expect(fs.statSync(path.join(installed, "dist/headwater.js")).mode & 0o111).toBe(0o111);
	});

	it("says its version, also when an older Node starts it", async () => {
		const program = path.join(installed, "dist", "headwater.js");
		const ours = await run(process.execPath, [program, "--version"], { cwd: folder });
		expect(ours).toMatchObject({ code: 0, stdout: expect.stringContaining(manifest.version) });
		const pretend = path.join(folder, "older-node.mjs");
		fs.writeFileSync(
			pretend,
			`if (process.env.PRETEND) {
				delete process.env.PRETEND;
				Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.0.0" } });
			}`,
		);
		const env = { ...process.env, PRETEND: "yes" };
		const older = await run(process.execPath, ["--import", pretend, program, "--version"], { cwd: folder, env });
		expect(older).toEqual(ours);
		const failing = await run(process.execPath, ["--import", pretend, program, "no-such-command"], {
			cwd: folder,
			env,
		});
		const same = await run(process.execPath, [program, "no-such-command"], { cwd: folder });
		expect(failing).toEqual(same);
		expect(same.code).not.toBe(0);
	});

	it("says what to install when no Node of its own is there", async () => {
		const alone = temporaryFolder("alone");
		fs.cpSync(path.join(installed, "dist"), path.join(alone, "dist"), { recursive: true });
		fs.writeFileSync(path.join(alone, "package.json"), `{"type":"module"}`);
		const pretend = "data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'20.0.0'}})";
		const result = await run(process.execPath, [
			"--import",
			pretend,
			path.join(alone, "dist", "headwater.js"),
			"start",
		]);
		fs.rmSync(alone, { recursive: true });
		expect(result.code).toBe(1);
		expect(result.stderr).toMatch(/needs Node\.js 24 or later .*\n.*--omit=optional/);
	});

	it("runs a gateway that a program reaches through headwater/client", async () => {
		const gateway: Gateway = await startGateway({
			dataDirectory: path.join(folder, "data"),
			program: path.join(installed, "dist", "headwater.js"),
		});
		try {
			const { code, stdout, stderr } = await run(process.execPath, ["program.ts", String(gateway.nativePort)], {
				cwd: folder,
			});
			expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
			expect(JSON.parse(stdout)).toEqual({
				offsets: [0, 1],
				seen: ["0 68656c6c6f", "1 0102"],
				code: "UNKNOWN_TOPIC_OR_PARTITION",
			});
		} finally {
			expect(await gateway.stop()).toBe(0);
		}
	});

	it("has types that a strict program is checked against", async () => {
		const compilerOptions = {
			module: "nodenext",
			target: "es2024",
			lib: ["es2024", "esnext.disposable"],
			strict: true,
			noEmit: true,
			typeRoots: [path.join(root, "node_modules", "@types")],
			types: ["node"],
		};
		const check = (): ReturnType<typeof run> =>
			run(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder]);
		fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
		expect(await check()).toMatchObject({ code: 0, stdout: "" });
		fs.writeFileSync(path.join(folder, "wrong.ts"), PROGRAM.replace("offsets: number[]", "offsets: string[]"));
		fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["wrong.ts"] }));
		expect((await check()).stdout).toMatch(/wrong\.ts.*TS2322/);
	});
});
