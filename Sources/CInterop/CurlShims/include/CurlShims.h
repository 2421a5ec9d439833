// libcurl's option and info calls are variadic, which Swift does not import: one function per argument shape.
//
// The names of the calls are in parentheses so that curl's type-checking macros, which want a constant option, stay out.

#ifndef SAMD_CURL_SHIMS_H
#define SAMD_CURL_SHIMS_H

#include <curl/curl.h>

/// The shape of CURLOPT_WRITEFUNCTION, CURLOPT_HEADERFUNCTION and CURLOPT_READFUNCTION.
typedef size_t (*samd_curl_data_function)(char *buffer, size_t size, size_t count, void *user);

static inline CURLcode samd_curl_set_long(CURL *easy, CURLoption option, long value) {
    return (curl_easy_setopt)(easy, option, value);
}

static inline CURLcode samd_curl_set_size(CURL *easy, CURLoption option, curl_off_t value) {
    return (curl_easy_setopt)(easy, option, value);
}

/// curl copies the string.
static inline CURLcode samd_curl_set_string(CURL *easy, CURLoption option, const char *value) {
    return (curl_easy_setopt)(easy, option, value);
}

static inline CURLcode samd_curl_set_pointer(CURL *easy, CURLoption option, void *value) {
    return (curl_easy_setopt)(easy, option, value);
}

/// The list stays the caller's and has to outlive the transfer.
static inline CURLcode samd_curl_set_list(CURL *easy, CURLoption option, struct curl_slist *value) {
    return (curl_easy_setopt)(easy, option, value);
}

static inline CURLcode samd_curl_set_data_function(
    CURL *easy, CURLoption option, samd_curl_data_function value) {
    return (curl_easy_setopt)(easy, option, value);
}

static inline CURLcode samd_curl_set_seek_function(CURL *easy, curl_seek_callback value) {
    return (curl_easy_setopt)(easy, CURLOPT_SEEKFUNCTION, value);
}

static inline CURLcode samd_curl_get_long(CURL *easy, CURLINFO info, long *value) {
    return (curl_easy_getinfo)(easy, info, value);
}

static inline CURLcode samd_curl_get_pointer(CURL *easy, CURLINFO info, char **value) {
    return (curl_easy_getinfo)(easy, info, value);
}

static inline CURLMcode samd_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return (curl_multi_setopt)(multi, option, value);
}

/// The finished transfer's result; CURLMsg keeps it in a union.
static inline CURLcode samd_curl_message_result(const CURLMsg *message) {
    return message->data.result;
}

#endif
