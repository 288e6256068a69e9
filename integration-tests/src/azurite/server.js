// Runs Azurite so that what it has answered is on its disk: it writes every five seconds by itself, and a kill would forget the rest.
//
// usage: node server.js MODULES OPTION…

const { join } = require("path");
const { ServerResponse } = require("http");
const modules = process.argv.splice(2, 1)[0];
const Loki = require(join(modules, "lokijs"));

const databases = [];
const load = Loki.prototype.loadDatabase;
Loki.prototype.loadDatabase = function (...words) {
    databases.push(this);
    return load.apply(this, words);
};

const save = database => new Promise((done, failed) => database.saveDatabase(error => (error ? failed(error) : done())));
const end = ServerResponse.prototype.end;
ServerResponse.prototype.end = function (...words) {
    if (["GET", "HEAD"].includes(this.req.method)) return end.apply(this, words);
    Promise.all(databases.map(save)).then(() => end.apply(this, words), error => this.destroy(error));
    return this;
};

require(join(modules, "azurite/dist/src/blob/main.js"));
