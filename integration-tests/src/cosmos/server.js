// Runs the emulator of Cosmos DB, which keeps all in memory, so that what it has answered is on its disk: a restart or a kill forgets
// nothing.
//
// usage: node server.js MODULES PORT

const { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } = require("fs");
const { join } = require("path");
const { ServerResponse } = require("http");
const [modules, port] = process.argv.slice(2);
const emulator = join(modules, "@vercel/cosmosdb-server/lib");
// A file for each database: what a request changes is written whole, and a server may have those of many tests.
const DIRECTORY = "databases";
const fileOf = database => join(DIRECTORY, encodeURIComponent(database));

// What is in each item of a list, from accounts down.
const INSIDE = ["databases", "collections", "documents"];

const dump = (item, depth) => {
    const inside = item[INSIDE[depth + 1]];
    const below = inside && [...inside._data.values()].map(item => dump(item, depth + 1));
    return { data: item.read(), inside: inside && { count: inside._ridCount, items: below } };
};

const restore = (items, { data, inside }, depth) => {
    items._set(data);
    if (!inside) return;
    const below = items._data.get(data._rid)[INSIDE[depth + 1]];
    below._ridCount = inside.count;
    for (const item of inside.items) restore(below, item, depth + 1);
};

let account;
const accounts = require(join(emulator, "account"));
const Account = accounts.default;
accounts.default = class extends Account {
    constructor(...words) {
        super(...words);
        account = this;
        for (const file of readdirSync(DIRECTORY).filter(file => !file.endsWith(".new"))) {
            const { count, database } = JSON.parse(readFileSync(join(DIRECTORY, file)));
            this.databases._ridCount = Math.max(this.databases._ridCount, count);
            restore(this.databases, database, 0);
        }
    }
};

// The emulator fails at reading a document that is not there, unless it looks for it in all partitions.
const reading = require(join(emulator, "handler/read-document"));
const read = reading.default;
reading.default = (account, request, ...more) => {
    request.headers["x-ms-documentdb-query-enablecrosspartition"] = "true";
    return read(account, request, ...more);
};

const write = database => {
    const file = fileOf(database.read().id);
    writeFileSync(`${file}.new`, JSON.stringify({ count: account.databases._ridCount, database: dump(database, 0) }));
    renameSync(`${file}.new`, file);
};

const end = ServerResponse.prototype.end;
ServerResponse.prototype.end = function (...words) {
    const { method, url, headers } = this.req;
    if (method !== "GET" && !headers["x-ms-documentdb-isquery"]) {
        const [, name] = url.match(/^\/dbs\/([^/]+)/) || [];
        const all = [...account.databases._data.values()];
        const changed = all.filter(database => !name || database.read().id === decodeURIComponent(name));
        changed.forEach(write);
        if (name && changed.length === 0) rmSync(fileOf(decodeURIComponent(name)), { force: true });
    }
    return end.apply(this, words);
};

mkdirSync(DIRECTORY, { recursive: true });
require(join(emulator, "index.js")).createHttpServer({ keepAlive: true }).listen(Number(port), "127.0.0.1");
