// A PKCS#11 module in front of SoftHSM which does as that does, except for what MOODY_DIRECTORY/mood says when a function is called.
// Each call of the functions below is noted in MOODY_DIRECTORY/calls.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long number;
typedef number (*function)();
// PKCS#11 2.40, section 5: a version, then the functions in this order.
struct functions { unsigned char version[2]; function list[68]; };
struct attribute { number type; void *value; number length; };
enum { GET_FUNCTION_LIST = 3, LOGIN = 18, SET_ATTRIBUTE = 25, SIGN = 43, GENERATE_KEY_PAIR = 59 };
enum { CKA_EXTRACTABLE = 0x162, CKR_OK = 0, CKR_DEVICE_ERROR = 0x30, CKR_FUNCTION_FAILED = 0x6, CKR_FUNCTION_NOT_SUPPORTED = 0x54 };

static struct functions ours, *theirs;

static FILE *in_directory(const char *name, const char *how) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("MOODY_DIRECTORY"), name);
    return fopen(path, how);
}

static int is_in_mood(const char *mood) {
    char now[64] = "";
    FILE *file = in_directory("mood", "r");
    if (file) {
        if (!fgets(now, sizeof now, file)) now[0] = 0;
        fclose(file);
    }
    return !strcmp(now, mood);
}

static void note(const char *call) {
    FILE *file = in_directory("calls", "a");
    if (!file) abort();
    fprintf(file, "%s\n", call);
    fclose(file);
}

static number login(number session, number who, unsigned char *pin, number length) {
    note("C_Login");
    if (is_in_mood("lets nobody in")) return CKR_DEVICE_ERROR;
    return theirs->list[LOGIN](session, who, pin, length);
}

static number sign(number session, void *data, number length, unsigned char *signature, number *signed_length) {
    note("C_Sign");
    if (is_in_mood("signs not")) return CKR_FUNCTION_FAILED;
    number answer = theirs->list[SIGN](session, data, length, signature, signed_length);
    // As another key would.
    if (signature && answer == CKR_OK && is_in_mood("signs otherwise")) signature[7] ^= 1;
    return answer;
}

static number generate(number session, void *how, void *public, number publics, struct attribute *private, number privates,
                       number *public_key, number *private_key) {
    static unsigned char yes = 1;
    note("C_GenerateKeyPair");
    if (is_in_mood("lets keys out"))
        for (number place = 0; place < privates; place++)
            if (private[place].type == CKA_EXTRACTABLE) private[place].value = &yes;
    number answer = theirs->list[GENERATE_KEY_PAIR](session, how, public, publics, private, privates, public_key, private_key);
    // Made, and then the way to it is lost.
    if (answer == CKR_OK && is_in_mood("is lost once")) {
        FILE *file = in_directory("mood", "w");
        if (!file) abort();
        fclose(file);
        return CKR_DEVICE_ERROR;
    }
    return answer;
}

static number set_attribute(number session, number object, void *attributes, number count) {
    if (is_in_mood("changes nothing")) return CKR_FUNCTION_NOT_SUPPORTED;
    return theirs->list[SET_ATTRIBUTE](session, object, attributes, count);
}

number C_GetFunctionList(struct functions **list) {
    void *module = dlopen(getenv("MOODY_MODULE"), RTLD_NOW | RTLD_LOCAL);
    function get = module ? (function)dlsym(module, "C_GetFunctionList") : 0;
    if (!get || get(&theirs) != CKR_OK) return CKR_DEVICE_ERROR;
    ours = *theirs;
    ours.list[GET_FUNCTION_LIST] = (function)C_GetFunctionList;
    ours.list[LOGIN] = (function)login;
    ours.list[SIGN] = (function)sign;
    ours.list[GENERATE_KEY_PAIR] = (function)generate;
    ours.list[SET_ATTRIBUTE] = (function)set_attribute;
    *list = &ours;
    return CKR_OK;
}
